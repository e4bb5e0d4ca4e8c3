package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// sshAddress is how a client reaches the ssh server: `ssh://USER@HOST:PORT/ABSOLUTE/REPOSITORY`.
type sshAddress struct {
	User       string `json:"user"`
	Port       int    `json:"port"`
	Key        string `json:"key"`         // private key of the one client that may log in
	OldKey     string `json:"old_key"`     // another one of its keys, for which git speaks version 0 of its protocol
	KnownHosts string `json:"known_hosts"` // the server's host key
}

// startSSH runs OpenSSH's server as the user who runs this program, with generated keys. Its only client may run git's
// upload-pack and receive-pack, and nothing else. For the client's second key, git is not told which version of the protocol the
// client knows, as is the case where sshd_config has no AcceptEnv for it.
func startSSH(ctx context.Context, dir, repos string, failed chan<- error) (*sshAddress, error) {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
			return nil, fmt.Errorf("no sshd: install openssh-server")
		}
		sshd = "/usr/sbin/sshd" // not in an ordinary user's PATH; sshd wants an absolute path anyway
	}
	shell, err := exec.LookPath("git-shell")
	if err != nil {
		return nil, fmt.Errorf("no git-shell: install git")
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // where sshd separates its privileges
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"host", "client", "old-client"} {
		if _, err := os.Stat(path(name)); err == nil {
			continue
		}
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path(name)).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	clientKey, err1 := os.ReadFile(path("client.pub"))
	oldKey, err2 := os.ReadFile(path("old-client.pub"))
	hostKey, err3 := os.ReadFile(path("host.pub"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	host := strings.Join(strings.Fields(string(hostKey))[:2], " ")
	for name, content := range map[string]string{
		"authorized_keys": authorized(shell, clientKey) + authorized("env -u GIT_PROTOCOL "+shell, oldKey),
		"known_hosts":     fmt.Sprintf("[127.0.0.1]:%d %s\n[localhost]:%d %s\n", port, host, port, host),
		"sshd_config": strings.Join([]string{
			"ListenAddress 127.0.0.1", fmt.Sprint("Port ", port),
			"HostKey " + path("host"), "PidFile none", "AuthorizedKeysFile " + path("authorized_keys"),
			"StrictModes no", // the folder may be below a world-writable one, such as /tmp
			"UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
			"PermitRootLogin forced-commands-only", "AcceptEnv GIT_PROTOCOL",
			"MaxStartups 100", "MaxSessions 100", "",
		}, "\n"),
	} {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	command := exec.CommandContext(ctx, sshd, "-D", "-f", path("sshd_config"), "-E", path("sshd.log"))
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The death signal is sent when the thread that started the child ends, so that thread must stay.
		runtime.LockOSThread()
		started <- command.Start()
		failed <- fmt.Errorf("sshd ended: %w; see %s", command.Wait(), path("sshd.log"))
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return &sshAddress{
		User: me.Username, Port: port,
		Key: path("client"), OldKey: path("old-client"), KnownHosts: path("known_hosts"),
	}, dial(ctx, port)
}

// authorized returns a line of authorized_keys that passes the client's command, whatever it is, to a shell.
func authorized(shell string, key []byte) string {
	return fmt.Sprintf("restrict,command=\"%s -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" %s", shell, key)
}

func dial(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return connection.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sshd does not answer on port %d: %w", port, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freePort finds a port for a component that listens later. No outgoing connection takes the port in the meantime: the system
// assigns those ports from 32768 upwards.
func freePort() (int, error) {
	var err error
	for range 100 {
		var free net.Listener
		port := 10_000 + rand.IntN(22_000)
		if free, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, free.Close()
		}
	}
	return 0, err
}
