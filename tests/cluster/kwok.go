package main

import (
	"context"
	_ "embed"
	"os"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	node "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	pod "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/utils/cel"
)

//go:embed stages.yaml
var misbehaviour string

// newKwok plays the kubelet: pods become Ready, the pods of a Job complete, and deleted pods go away. A stage with a weight takes
// precedence over kwok's own stages, which have none.
func newKwok(c *config) (runFunc, error) {
	stages := []string{
		node.DefaultNodeInit, heartbeat.DefaultNodeHeartbeatWithLease,
		pod.DefaultPodReady, pod.DefaultPodComplete, pod.DefaultPodDelete, misbehaviour,
	}
	if c.stages != "" {
		more, err := os.ReadFile(c.stages)
		if err != nil {
			return nil, err
		}
		stages = append(stages, string(more))
	}
	return func(ctx context.Context) error {
		if err := learnTypes(); err != nil {
			return err
		}
		os.Args = []string{"kwok", "--config", c.path("stages.yaml")} // where InitFlags looks
		ctx, err := kwokconfig.InitFlags(ctx, pflag.NewFlagSet("kwok", pflag.ContinueOnError))
		if err != nil {
			return err
		}
		command := kwok.NewCommand(ctx)
		command.Version = "" // its --version flag would clash with Kubernetes' global one
		command.SetArgs([]string{
			"--kubeconfig=" + c.path("kwok.kubeconfig"), "--manage-all-nodes",
			"--node-ip=127.0.0.1", "--cidr=10.244.0.0/16", "--node-lease-duration-seconds=40",
		})
		return command.ExecuteContext(ctx)
	}, os.WriteFile(c.path("stages.yaml"), []byte(strings.Join(stages, "\n---\n")), 0o600)
}

// learnTypes makes kwok's CEL library load all types into its maps up front. The maps have no lock, and kwok fills them when it
// first looks at a node and when it first looks at a pod. Both happen at the same time, which occasionally crashed the process.
func learnTypes() error {
	for _, self := range []any{(*corev1.Node)(nil), (*corev1.Pod)(nil), map[string]any{}} {
		_, err := cel.NewEnvironment(cel.EnvironmentConfig{
			Types:       cel.DefaultTypes,
			Conversions: cel.DefaultConversions,
			Methods:     cel.FuncsToMethods(cel.DefaultFuncs),
			Funcs:       cel.DefaultFuncs,
			Vars:        map[string]any{"self": self},
		})
		if err != nil {
			return err
		}
	}
	return nil
}
