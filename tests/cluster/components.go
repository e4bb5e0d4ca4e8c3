package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllersoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// auditPolicy records one event for each finished request and one for each watch that begins, for every client except the control
// plane itself. The cost of a client to the API server can be counted from these events.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, kwok]
- level: None
  userGroups: [system:serviceaccounts:kube-system]
- level: Metadata
  omitManagedFields: true
`

// parse sets a component's flags. It does not use the component's cobra command: each command installs its own signal handlers,
// and a process can do that only once.
func parse(sets cliflag.NamedFlagSets, args ...string) error {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, f := range sets.FlagSets {
		fs.AddFlagSet(f)
	}
	return fs.Parse(args)
}

func newEtcd(c *config) (runFunc, error) {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel = c.path("etcd"), "error"
	cfg.UnsafeNoFsync = true                                 // the data outlives the process, not the machine
	peer := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}} // never dialled: one member
	client := []url.URL{{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", c.etcdPort)}}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	return func(ctx context.Context) error {
		server, err := embed.StartEtcd(cfg)
		if err != nil {
			return err
		}
		defer server.Close()
		select {
		case err = <-server.Err():
		case <-ctx.Done():
		}
		return err
	}, nil
}

func newAPIServer(c *config, listener net.Listener) (runFunc, error) {
	args := []string{
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", c.etcdPort),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.apiPort),
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", // a loopback address would be refused
		"--tls-cert-file=" + c.path("apiserver.crt"), "--tls-private-key-file=" + c.path("apiserver.key"),
		"--client-ca-file=" + c.path("ca.crt"), "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("sa.pub"), "--service-account-signing-key-file=" + c.path("sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--allow-privileged=true", "--profiling=false",
	}
	if c.audit {
		policy := c.path("audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return nil, err
		}
		// In blocking mode, the log's default, a request that has been answered is in the file. The log must not be rotated,
		// which happens every 100 MB by default: a reader that remembers its position in the file would find nothing after it.
		args = append(args, "--audit-policy-file="+policy, "--audit-log-path="+c.path("audit.log"),
			"--audit-log-maxsize=1000000")
	}
	opts := apiserveroptions.NewServerRunOptions()
	err := parse(opts.Flags(), append(args, strings.Fields(c.apiArgs)...)...)
	opts.SecureServing.Listener = listener
	return func(ctx context.Context) error {
		if err := logsapi.ValidateAndApply(opts.Logs, utilfeature.DefaultFeatureGate); err != nil {
			return err
		}
		completed, err := opts.Complete(ctx)
		if err != nil {
			return err
		}
		if errs := completed.Validate(); len(errs) > 0 {
			return utilerrors.NewAggregate(errs)
		}
		return apiserver.Run(ctx, completed)
	}, err
}

func newControllers(c *config) (runFunc, error) {
	opts, err := controllersoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, err
	}
	known, off, aliases := controllers.KnownControllers(), controllers.ControllersDisabledByDefault(), controllers.ControllerAliases()
	sets := opts.Flags(known, off, aliases)
	opts.ParsedFlags = &sets
	err = parse(sets,
		"--kubeconfig="+c.path("controllers.kubeconfig"), "--secure-port=0", "--leader-elect=false",
		"--use-service-account-credentials=true", // its own identity lacks most controllers' rights
		"--root-ca-file="+c.path("ca.crt"), "--service-account-private-key-file="+c.path("sa.key"),
		"--enable-hostpath-provisioner=true", "--kube-api-qps=200", "--kube-api-burst=400")
	return func(ctx context.Context) error {
		cfg, err := opts.Config(ctx, known, off, aliases)
		if err != nil {
			return err
		}
		return controllers.Run(ctx, cfg.Complete())
	}, err
}

func newScheduler(c *config) (runFunc, error) {
	opts := scheduleroptions.NewOptions()
	err := parse(*opts.Flags, "--kubeconfig="+c.path("scheduler.kubeconfig"), "--secure-port=0",
		"--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400")
	return func(ctx context.Context) error {
		cc, sched, err := scheduler.Setup(ctx, opts)
		if err != nil {
			return err
		}
		return scheduler.Run(ctx, cc, sched)
	}, err
}
