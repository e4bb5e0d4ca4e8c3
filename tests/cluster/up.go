package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apiserver/pkg/util/compatibility"
)

// A component first parses its flags into state that is partly global, and then runs until its context ends. All components must
// have parsed their flags before the first one runs.
type runFunc func(context.Context) error

type component struct {
	name     string
	parse    func(*config) (runFunc, error)
	needsAPI bool // the API server itself retries until etcd answers
}

func up(ctx context.Context, c *config) error {
	start := time.Now()
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	listener, err := listen(c)
	if err != nil {
		return err
	}
	if err := writePKI(c); err != nil {
		return fmt.Errorf("keys and kubeconfigs in %s: %w", c.dir, err)
	}
	components := []component{
		{name: "etcd", parse: newEtcd},
		{name: "kube-apiserver", parse: func(c *config) (runFunc, error) { return newAPIServer(c, listener) }},
		{name: "kube-controller-manager", parse: newControllers, needsAPI: true},
		{name: "kube-scheduler", parse: newScheduler, needsAPI: true},
		{name: "kwok", parse: newKwok, needsAPI: true},
	}
	runs := make([]runFunc, len(components))
	for i, component := range components {
		run, err := component.parse(c)
		if err != nil {
			return fmt.Errorf("%s: %w", component.name, err)
		}
		runs[i] = func(ctx context.Context) error {
			if component.needsAPI {
				if err := waitReady(ctx, c); err != nil {
					return fmt.Errorf("%s waits for the API server: %w", component.name, err)
				}
			}
			return fmt.Errorf("%s stopped: %w", component.name, errors.Join(run(ctx), ctx.Err()))
		}
	}
	if err := compatibility.DefaultComponentGlobalsRegistry.Set(); err != nil { // feature gates
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	etcdCtx, stopEtcd := context.WithCancel(context.WithoutCancel(ctx)) // etcd stops last
	group.Go(func() error { return runs[0](etcdCtx) })
	group.Go(func() error {
		defer stopEtcd()
		return runs[1](ctx)
	})
	for _, run := range runs[2:] {
		group.Go(func() error { return run(ctx) })
	}
	group.Go(func() error {
		if err := waitReady(ctx, c); err != nil {
			return fmt.Errorf("the API server is not ready: %w", err)
		}
		if err := seed(ctx, c); err != nil {
			return fmt.Errorf("storage class, nodes and service accounts: %w", err)
		}
		fmt.Fprintln(os.Stderr, "testcluster: ready after", time.Since(start).Round(time.Millisecond))
		fmt.Println("ready", c.path("admin.kubeconfig"))
		return nil
	})
	return group.Wait()
}

// listen opens the API server's port right away, so that no other process can take it, and chooses etcd's port. The kubeconfigs
// contain the API server's port, so a folder that has them keeps its port.
func listen(c *config) (net.Listener, error) {
	if c.apiPort == 0 {
		port, err := recordedPort(c)
		if err != nil {
			return nil, err
		}
		c.apiPort = port
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.apiPort))
	if err != nil {
		return nil, err
	}
	c.apiPort = listener.Addr().(*net.TCPAddr).Port
	if c.etcdPort == 0 {
		c.etcdPort, err = freePort()
	}
	return listener, err
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
