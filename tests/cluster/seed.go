package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func poll(ctx context.Context, done func(context.Context) bool) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 2*time.Minute, true,
		func(ctx context.Context) (bool, error) { return done(ctx), nil })
}

// adminClient returns a client without a rate limit of its own. With the default limit, creating many nodes would take a second
// for every five.
func adminClient(c *config) kubernetes.Interface {
	rest, err := clientcmd.BuildConfigFromFlags("", c.path("admin.kubeconfig"))
	utilruntime.Must(err) // writePKI wrote it
	rest.QPS = -1
	return kubernetes.NewForConfigOrDie(rest)
}

func waitReady(ctx context.Context, c *config) error {
	rest := adminClient(c).Discovery().RESTClient()
	return poll(ctx, func(ctx context.Context) bool {
		return rest.Get().AbsPath("/readyz").Do(ctx).Error() == nil
	})
}

// seed creates a default storage class and the fake nodes, and waits until a pod can be created and run.
func seed(ctx context.Context, c *config) error {
	client := adminClient(c)
	class := &storagev1.StorageClass{Provisioner: "kubernetes.io/host-path"}
	class.Name = "standard"
	class.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	_, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	for i := 0; i < c.nodes && (err == nil || apierrors.IsAlreadyExists(err)); i++ {
		node := &corev1.Node{}
		node.Name = fmt.Sprintf("fake-%d", i)
		node.Labels = map[string]string{"kubernetes.io/hostname": node.Name, "kubernetes.io/os": "linux"}
		_, err = client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return poll(ctx, func(ctx context.Context) bool {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false
		}
		for _, node := range nodes.Items {
			if len(node.Spec.Taints) > 0 { // not-ready
				return false
			}
		}
		_, err = client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
}
