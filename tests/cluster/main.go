// Command testcluster is a Kubernetes control plane for tests: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and
// kwok's fake kubelet, each from its own Go module, in one process. Under the name "kubectl", or as "testcluster kubectl", it is
// kubectl.
//
// "testcluster up" prints one line, "ready KUBECONFIG", to standard output once a pod can run. Everything else goes to standard
// error. It stops on SIGTERM, etcd last. When it is restarted on the same folder, however it ended before, it serves the same
// data at the same address.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
	_ "time/tzdata" // CronJobs name time zones, and a test machine may have no tzdata.

	"k8s.io/component-base/cli"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

// stopLimit bounds a graceful stop. The API server waits for requests in flight and the controllers wait for their workers, but a
// caller that waits for this process must not wait longer than this.
const stopLimit = 20 * time.Second

type config struct {
	dir, stages, apiArgs   string
	apiPort, etcdPort      int
	nodes                  int
	audit, followsItsInput bool
}

func (c *config) path(name string) string { return filepath.Join(c.dir, name) }

func main() {
	switch {
	case filepath.Base(os.Args[0]) == "kubectl":
		runKubectl()
	case len(os.Args) > 1 && os.Args[1] == "kubectl":
		os.Args = os.Args[1:]
		runKubectl()
	case len(os.Args) > 1 && os.Args[1] == "up":
		if err := runUp(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "testcluster:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: testcluster up [-dir DIR] [flags], or testcluster kubectl ...; flags: testcluster up -h")
		os.Exit(2)
	}
}

func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints, and exits with kubectl's code
	}
}

func runUp(args []string) error {
	c := &config{}
	fs := flag.NewFlagSet("testcluster up", flag.ExitOnError)
	fs.StringVar(&c.dir, "dir", "testcluster-data", "state: keys, kubeconfigs, etcd's data")
	fs.IntVar(&c.apiPort, "port", 0, "kube-apiserver's port on 127.0.0.1; 0: the one used before in dir, else a free one")
	fs.IntVar(&c.etcdPort, "etcd-port", 0, "etcd's port on 127.0.0.1; 0: a free one")
	fs.IntVar(&c.nodes, "nodes", 1, "fake nodes to make")
	fs.StringVar(&c.stages, "stages", "", "file of kwok Stages to add to kwok's and this program's own")
	fs.BoolVar(&c.audit, "audit", false, "log every request but the control plane's own to audit.log in dir, at level Metadata")
	fs.StringVar(&c.apiArgs, "apiserver-args", "", "more flags for kube-apiserver, separated by spaces")
	fs.BoolVar(&c.followsItsInput, "exit-with-parent", false, "stop when standard input closes, as it does when the parent ends in any way")
	_ = fs.Parse(args) // ExitOnError

	// Each component applies its logging options. In one process, all but the first are repeats.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged

	signalled, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	ctx, stop := context.WithCancel(signalled) // calling release early would let a signal kill the process
	defer stop()
	if c.followsItsInput {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	context.AfterFunc(ctx, func() {
		time.AfterFunc(stopLimit, func() {
			fmt.Fprintln(os.Stderr, "testcluster: not stopped after", stopLimit)
			os.Exit(1)
		})
	})
	if err := up(ctx, c); ctx.Err() == nil {
		return err
	}
	return nil
}
