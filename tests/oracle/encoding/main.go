// Command encoding answers with the results of Helm's encoding functions: the oracle of the differential tests in
// plugins/renderers/helm/encoding.
//
// It reads one question per line from standard input and writes one answer per line, both as JSON. The functions are those of
// Helm's engine (and of sprig), on the same libraries at the versions that Helm 4.3.1 resolves.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
	"sigs.k8s.io/yaml"
	goyaml "sigs.k8s.io/yaml/goyaml.v3"
)

type question struct {
	Op string `json:"op"`
	// Text is the input of the functions that read.
	Text []byte `json:"text,omitempty"`
	// Value is the input of the functions that write.
	Value *typed `json:"value,omitempty"`
}

type answer struct {
	Text  []byte `json:"text,omitempty"`
	Value *typed `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	input := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	output := bufio.NewWriterSize(os.Stdout, 1<<20)
	answers := json.NewEncoder(output)
	for input.More() {
		var q question
		if err := input.Decode(&q); err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		if err := answers.Encode(ask(q)); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
	return output.Flush()
}

// ask answers one question. The libraries panic on some malformed texts, which is reported as an error, too.
func ask(q question) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = answer{Error: fmt.Sprint("panic: ", r)}
		}
	}()
	var text []byte
	var value any
	var err error
	switch q.Op {
	case "toYaml":
		text, err = yaml.Marshal(q.Value.value())
		text = bytes.TrimSuffix(text, []byte("\n"))
	case "toYamlPretty":
		var buffer bytes.Buffer
		encoder := goyaml.NewEncoder(&buffer)
		encoder.SetIndent(2)
		err = encoder.Encode(q.Value.value())
		text = bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
	case "toJson":
		text, err = json.Marshal(q.Value.value())
	case "toPrettyJson":
		text, err = json.MarshalIndent(q.Value.value(), "", "  ")
	case "toRawJson":
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(q.Value.value())
		text = []byte(strings.TrimSuffix(buffer.String(), "\n"))
	case "toToml":
		var buffer bytes.Buffer
		err = toml.NewEncoder(&buffer).Encode(q.Value.value())
		text = buffer.Bytes()
	case "fromYaml":
		m := map[string]any{}
		err = yaml.Unmarshal(q.Text, &m)
		value = m
	case "fromYamlArray":
		l := []any{}
		err = yaml.Unmarshal(q.Text, &l)
		value = l
	case "yamlToJson":
		text, err = yaml.YAMLToJSON(q.Text)
	case "fromJson":
		m := map[string]any{}
		err = json.Unmarshal(q.Text, &m)
		value = m
	case "fromJsonArray":
		l := []any{}
		err = json.Unmarshal(q.Text, &l)
		value = l
	case "mustFromJson":
		err = json.Unmarshal(q.Text, &value)
	case "fromToml":
		m := map[string]any{}
		err = toml.Unmarshal(q.Text, &m)
		value = m
	default:
		err = fmt.Errorf("no such function: %s", q.Op)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	if text != nil {
		return answer{Text: text}
	}
	return answer{Value: wrap(value)}
}
