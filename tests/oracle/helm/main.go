// Command helm returns Helm's output for a chart or for a piece of template: the oracle of the tests in tests/helm.
//
// It reads one JSON request from each line of standard input and answers with one JSON line on standard output, in the same
// order, until the input ends. Requests and answers are the types `request` and `answer`. Helm's log output is discarded.
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

// request is one line of the input. `cmd` determines which of the other fields are used.
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
	// Bytes is the output if it is not UTF-8: templates can cut strings between bytes.
	Bytes []byte `json:"bytes,omitempty"`
	// Error is empty if Helm succeeded.
	Error    string `json:"error,omitempty"`
	Manifest string `json:"manifest,omitempty"`
	Hooks    []hook `json:"hooks,omitempty"`
	// Objects are what Kubernetes reads from the manifest and, on request, from the definitions in crds/.
	Objects   []json.RawMessage `json:"objects,omitempty"`
	Notes     string            `json:"notes,omitempty"`
	Functions []function        `json:"functions,omitempty"`
}

func main() {
	// Templates print dates in the process's time zone. A pure render has no zone but UTC.
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
		// The output is flushed after each answer, so that after a crash it is known which request caused it.
		if err := writer.Flush(); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
}

// reply answers one request. Some inputs make Helm panic, which is reported as an error, too.
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

// command runs Helm's own command line. Its arguments must include `--namespace`, because Helm keeps the namespace of an earlier
// call.
func command(args []string, out io.Writer) error {
	root, err := helm.NewRootCmd(out, args, func(bool) {})
	if err != nil {
		return err
	}
	root.SetArgs(args)
	root.SetOut(out)
	return root.Execute()
}
