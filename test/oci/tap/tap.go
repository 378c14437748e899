// Package tap writes test results in the Test Anything Protocol, version 13, to standard output: what the validation
// programs of the OCI runtime-tools import under this name, in the few calls they make.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T counts the results of one program. A TODO copy of it counts with it.
type T struct {
	count *int
	todo  bool
	out   io.Writer
}

// New is a T that writes to standard output.
func New() *T { return &T{count: new(int), out: os.Stdout} }

// Todo is the same T, whose failures are expected.
func (t *T) Todo() *T { return &T{count: t.count, todo: true, out: t.out} }

// Header opens the output; planned is 0 where the plan comes at the end.
func (t *T) Header(planned int) {
	fmt.Fprintln(t.out, "TAP version 13")
	if planned > 0 {
		fmt.Fprintf(t.out, "1..%d\n", planned)
	}
}

// AutoPlan closes the output with the number of results there were.
func (t *T) AutoPlan() { fmt.Fprintf(t.out, "1..%d\n", *t.count) }

// Ok is one result.
func (t *T) Ok(passed bool, description string) {
	verdict := "ok"
	if !passed {
		verdict = "not ok"
	}
	directive := ""
	if t.todo {
		directive = " # TODO"
	}
	*t.count++
	fmt.Fprintf(t.out, "%s %d - %s%s\n", verdict, *t.count, oneLine(description), directive)
}

// Pass is a result that is good.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail is a result that is not.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip stands for results that could not be had.
func (t *T) Skip(results int, description string) {
	for ; results > 0; results-- {
		*t.count++
		fmt.Fprintf(t.out, "ok %d # SKIP %s\n", *t.count, oneLine(description))
	}
}

// Diagnostic is a remark, a comment for each of its lines.
func (t *T) Diagnostic(message string) {
	fmt.Fprintf(t.out, "# %s\n", strings.ReplaceAll(message, "\n", "\n# "))
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, values ...interface{}) { t.Diagnostic(fmt.Sprintf(format, values...)) }

// YAML is a block that belongs to the last result; JSON is YAML too and has no line that could be a result.
func (t *T) YAML(message interface{}) error {
	text, err := json.Marshal(message)
	if err == nil {
		fmt.Fprintf(t.out, "  ---\n  %s\n  ...\n", text)
	}
	return err
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }
