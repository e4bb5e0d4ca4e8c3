// Command yaml returns what Kubernetes reads from YAML documents: the oracle of the differential test in sdk/yaml.
//
// It reads a JSON list of texts from standard input and writes a JSON list of answers, one for each text: the JSON that
// sigs.k8s.io/yaml produces, or the error.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

type answer struct {
	JSON  json.RawMessage `json:"json,omitempty"`
	Error string          `json:"error,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		return fmt.Errorf("read the texts: %w", err)
	}
	answers := make([]answer, len(texts))
	for i, text := range texts {
		answers[i] = ask(text)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// ask converts one text. The module panics on some malformed texts, which is reported as an error, too.
func ask(text string) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = answer{Error: fmt.Sprint("panic: ", r)}
		}
	}()
	converted, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{JSON: converted}
}
