// Command kstatus is the reference that the health check is compared with: it reads a JSON list of Kubernetes objects
// from standard input and writes a JSON list with what kstatus says about each of them.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// answer is what kstatus says about one object. Status is empty where it gives up with an error.
type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var objects []json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return fmt.Errorf("cannot read the objects: %w", err)
	}
	answers := make([]answer, len(objects))
	for index, raw := range objects {
		object := &unstructured.Unstructured{}
		// Its own decoder keeps integers apart from floats, as the client libraries do.
		if err := object.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("cannot read object %d: %w", index, err)
		}
		answers[index] = judge(object)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func judge(object *unstructured.Unstructured) (result answer) {
	// kstatus asserts the types of a few fields without checking them.
	defer func() {
		if cause := recover(); cause != nil {
			result = answer{Message: fmt.Sprint("panic: ", cause)}
		}
	}()
	verdict, err := status.Compute(object)
	if err != nil {
		return answer{Message: err.Error()}
	}
	return answer{Status: verdict.Status.String(), Message: verdict.Message}
}
