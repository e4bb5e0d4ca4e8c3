// Command testservers provides what a GitOps agent talks to besides Kubernetes, for tests on loopback:
//
//	/v2/        an OCI registry (distribution spec 1.1 with referrers), in memory
//	/git/       git's smart HTTP protocol over the bare repositories in DIR/repos
//	/charts/    the files in DIR/charts: a chart repository, once an index.yaml is among them
//	/sink/      takes any request and appends it to DIR/sink.jsonl, as a receiver of notifications
//	ssh         an OpenSSH server for the same repositories, with -ssh
//
// Each HTTP service is available twice, over http and over https with a certificate of DIR/ca.crt. With -user, the registry, git
// and charts require that user with basic authentication, or the one in DIR/user as soon as that file exists. With -token, git
// and charts also accept the token as a bearer token, and the registry sends clients to /token for it. The sink requires no
// credentials.
//
// It prints one line of JSON with its addresses once all services answer.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// addresses is the line on standard output.
type addresses struct {
	HTTP   string      `json:"http"`
	HTTPS  string      `json:"https"`
	CA     string      `json:"ca"`
	Repos  string      `json:"repos"`
	Charts string      `json:"charts"`
	Sink   string      `json:"sink"`
	User   string      `json:"user"`
	SSH    *sshAddress `json:"ssh,omitempty"`
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	dir := flag.String("dir", "testservers-data", "state: certificates, repositories, what the sink received")
	user := flag.String("user", "", "user:password that registry and git ask for; empty: anonymous")
	token := flag.String("token", "", "bearer token that git accepts and the registry gives out at /token")
	ssh := flag.Bool("ssh", false, "serve the repositories by ssh too (needs OpenSSH's sshd)")
	followsItsInput := flag.Bool("exit-with-parent", false, "stop when standard input closes, as it does when the parent ends in any way")
	flag.Parse()

	signalled, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	ctx, stop := context.WithCancel(signalled) // calling release early would let a signal kill the process
	defer stop()
	if *followsItsInput {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	if err := run(ctx, *dir, credentials{user: *user, token: *token}, *ssh); err != nil {
		fmt.Fprintln(os.Stderr, "testservers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, allowed credentials, withSSH bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	at := addresses{
		CA:     filepath.Join(dir, "ca.crt"),
		Repos:  filepath.Join(dir, "repos"),
		Charts: filepath.Join(dir, "charts"),
		Sink:   filepath.Join(dir, "sink.jsonl"),
		User:   filepath.Join(dir, "user"),
	}
	allowed.newUser = at.User
	for _, folder := range []string{at.Repos, at.Charts} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	certificate, err := issue(at.CA)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	git, err := newGit(at.Repos)
	if err != nil {
		return err
	}
	sink, err := newSink(at.Sink)
	if err != nil {
		return err
	}
	defer sink.file.Close()

	mux := http.NewServeMux()
	mux.Handle("/v2/", allowed.forRegistry(ociserver.New(ocimem.New(), nil)))
	mux.Handle("/token", allowed.tokens())
	mux.Handle("/git/", allowed.forFiles("git", git))
	charts := http.StripPrefix("/charts/", http.FileServer(http.Dir(at.Charts)))
	mux.Handle("/charts/", allowed.forFiles("charts", charts))
	mux.Handle("/sink/", sink)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	plain, err1 := net.Listen("tcp", "127.0.0.1:0")
	secure, err2 := net.Listen("tcp", "127.0.0.1:0")
	if err1 != nil || err2 != nil {
		return fmt.Errorf("listen: %w, %w", err1, err2)
	}
	at.HTTP, at.HTTPS = "http://"+plain.Addr().String(), "https://"+secure.Addr().String()

	failed := make(chan error, 3)
	go func() { failed <- server.Serve(plain) }()
	go func() {
		failed <- server.Serve(tls.NewListener(secure, &tls.Config{
			Certificates: []tls.Certificate{certificate},
			NextProtos:   []string{"http/1.1"},
		}))
	}()
	if withSSH {
		if at.SSH, err = startSSH(ctx, filepath.Join(dir, "ssh"), at.Repos, failed); err != nil {
			return fmt.Errorf("ssh: %w", err)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(at); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
