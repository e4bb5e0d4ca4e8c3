// Command helm says what Helm makes of a chart or of a piece of template: the oracle of the tests in tests/helm.
//
// It reads one JSON request on each line of standard input and answers with one JSON line on standard output, in that
// order, until the input ends. Requests and answers are the types `request` and `answer`. What Helm logs is discarded.
//
// With arguments it is the command `helm` itself.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	helm "helm.sh/helm/v4/pkg/cmd"
)

// request is one line of the input; `cmd` says which of the others count.
type request struct {
	// Cmd is `functions`, `expr`, `template`, `keys` or `helm`.
	Cmd string `json:"cmd"`
	// Args are the arguments of `helm`.
	Args []string `json:"args"`
	expression
	templating
}

// answer is one line of the output.
type answer struct {
	Output string `json:"output,omitempty"`
	// Bytes is the output where it is not UTF-8: templates cut strings between bytes.
	Bytes []byte `json:"bytes,omitempty"`
	// Error is empty if Helm succeeded.
	Error    string `json:"error,omitempty"`
	Manifest string `json:"manifest,omitempty"`
	Hooks    []hook `json:"hooks,omitempty"`
	// Objects are what Kubernetes reads from the manifest and, if they are asked for, from the definitions in crds/.
	Objects   []json.RawMessage `json:"objects,omitempty"`
	Notes     string            `json:"notes,omitempty"`
	Functions []function        `json:"functions,omitempty"`
}

func main() {
	// Dates in templates are printed in the process's zone; a pure render has none but UTC.
	time.Local = time.UTC
	if len(os.Args) > 1 {
		if err := command(os.Args[1:], os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(bufio.NewReader(in))
	writer := bufio.NewWriter(out)
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	for {
		var asked request
		if err := decoder.Decode(&asked); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if err := encoder.Encode(reply(asked)); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
		// Flushed for each answer, so that after a crash it is known which request was its cause.
		if err := writer.Flush(); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
}

// reply answers one request. Some inputs make Helm panic; that is an error as well.
func reply(asked request) (given answer) {
	defer func() {
		if r := recover(); r != nil {
			given = answer{Error: fmt.Sprint("panic: ", r)}
		}
	}()
	switch asked.Cmd {
	case "functions":
		return answer{Functions: functions()}
	case "expr":
		output, err := asked.expression.render()
		if err != nil {
			return answer{Error: err.Error()}
		}
		if !utf8.ValidString(output) {
			return answer{Bytes: []byte(output)}
		}
		return answer{Output: output}
	case "template":
		return asked.templating.run()
	case "keys":
		output, err := describeKeys(asked.expression.Text)
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Output: output}
	case "helm":
		var printed strings.Builder
		if err := command(asked.Args, &printed); err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Output: printed.String()}
	default:
		return answer{Error: fmt.Sprintf("unknown command %q", asked.Cmd)}
	}
}

// command runs Helm's own command line. Give it `--namespace`: Helm keeps that of an earlier call.
func command(args []string, out io.Writer) error {
	root, err := helm.NewRootCmd(out, args, func(bool) {})
	if err != nil {
		return err
	}
	root.SetArgs(args)
	root.SetOut(out)
	return root.Execute()
}
