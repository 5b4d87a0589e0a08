// Package stagetest is the suite that every stage kind passes.
package stagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pipe/internal/document"
	"pipe/internal/golden"
	"pipe/internal/manifest"
	"pipe/stages"
)

// Case is one way to run a kind.
type Case struct {
	With    string            // parameters, in YAML
	Inputs  map[string]string // port to path
	Outputs []string          // ports of an open kind
}

// Run runs the kind twice, with another clock, other paths, other numbers of
// workers and processors, on the portable CPU tier, and compares the outputs byte
// for byte. Their digests are pinned in testdata/<version>.digests: bytes that
// change without the kind's Version fail the test.
func Run(t *testing.T, kind *stages.Kind, c Case) {
	t.Helper()
	t.Run("declaration", func(t *testing.T) { checkDeclaration(t, kind) })
	first := Execute(t, kind, c, Setting{Workers: 1, Processors: 1, Clock: time.Unix(1e9, 0)})
	second := Execute(t, kind, c, Setting{Workers: 3, Processors: 4, Clock: time.Unix(2e9, 0), Deep: true})
	if first.Text != second.Text {
		t.Errorf("%s is not pure: another clock, path or number of workers gives other bytes\n%s", kind.Name, golden.Diff(first.Text, second.Text))
	}
	name := kind.Version + ".digests"
	if _, err := os.Stat(filepath.Join("testdata", name)); err != nil && !golden.Update() {
		t.Fatalf("testdata/%s is not there: a new version's digests are written with -update", name)
	}
	golden.Compare(t, name, []byte(first.Text))
	if t.Failed() {
		t.Logf("if the bytes are meant to change, raise the version of %s (now %s) and run the test with -update", kind.Name, kind.Version)
	}
}

// Setting is what must not matter.
type Setting struct {
	Workers, Processors int
	Clock               time.Time
	Deep                bool   // deeper paths
	Tier                string // of the CPU; "" is the portable one

	Store             string // of the state of a resumable kind; "" is none
	StopAt, AbandonAt int    // the call of Progress at which it is asked to stop, or cancelled; 0 is never
}

// Result is what a run left.
type Result struct {
	Dir      string // of the outputs
	Text     string // port and digest, a line each; "withheld" if so
	Withheld string
	Log      string
	Notes    string // "tier=go", a line each
}

// Execute runs a kind once.
func Execute(t *testing.T, kind *stages.Kind, c Case, s Setting) Result {
	t.Helper()
	r, err := Try(t, kind, c, s)
	if err != nil {
		t.Fatalf("%s: %v", kind.Name, err)
	}
	return r
}

// Try is Execute, but hands the kind's error over.
func Try(t *testing.T, kind *stages.Kind, c Case, s Setting) (Result, error) {
	t.Helper()
	if s.Processors > 0 {
		defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(s.Processors))
	}
	dir := t.TempDir()
	if s.Deep {
		dir = filepath.Join(dir, "a", "deeper", "place")
	}
	e := newEnv(t, dir, s)
	params := decode(t, kind, c.With)
	inputs := map[string]stages.Input{}
	for port, path := range c.Inputs {
		digest, err := digestOf(path)
		if err != nil {
			t.Fatal(err)
		}
		inputs[port] = stages.Input{Path: path, Digest: digest}
	}
	outputs := map[string]string{}
	for _, port := range portsOf(kind, c) {
		outputs[port] = filepath.Join(e.env.Out, port)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i := &interruption{stopAt: s.StopAt, abandonAt: s.AbandonAt, stop: make(chan struct{}), cancel: cancel}
	e.env.Progress, e.env.Stop = i.progress, i.stop
	if s.Store == "" {
		err := kind.Run(ctx, e.env, params, inputs, outputs)
		return e.result(t, portsOf(kind, c)), err
	}
	state := openState(t, s.Store)
	e.env.State = state
	err := kind.Run(ctx, e.env, params, inputs, outputs)
	state.close(err == nil)
	return e.result(t, portsOf(kind, c)), err
}

func tierOf(s Setting) string {
	if s.Tier == "" {
		return "go"
	}
	return s.Tier
}

func portsOf(kind *stages.Kind, c Case) []string {
	ports := c.Outputs
	for _, o := range kind.Outputs {
		ports = append(ports, o.Name)
	}
	return ports
}

func decode(t *testing.T, kind *stages.Kind, with string) stages.Params {
	t.Helper()
	node, err := document.Parse("with", []byte(with))
	if err != nil {
		t.Fatal(err)
	}
	params, problems := kind.Decode(node, node)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return params
}

func digestOf(path string) (string, error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		d, err := manifest.Folder(path)
		return d.String(), err
	}
	b, err := os.ReadFile(path)
	return manifest.Sum(b).String(), err
}

// env records what a kind says.
type env struct {
	env      *stages.Env
	mu       sync.Mutex // guards what follows
	clock    time.Time
	log      bytes.Buffer
	withheld string
	notes    string
}

func newEnv(t *testing.T, dir string, s Setting) *env {
	e := &env{clock: s.Clock}
	e.env = &stages.Env{Out: filepath.Join(dir, "out"), Scratch: filepath.Join(dir, "scratch"), Device: stages.Device{Tier: tierOf(s)}, Workers: max(s.Workers, 1),
		Log: e, Progress: func(stages.Progress) {}, Attach: func(string) (io.WriteCloser, error) { return discard{}, nil },
		Withhold: func(reason string) { e.withheld = reason }, Note: func(name, value string) { e.notes += name + "=" + value + "\n" }, Now: e.now}
	for _, sub := range []string{e.env.Out, e.env.Scratch} {
		if err := os.MkdirAll(sub, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// now is a clock that runs at its own pace.
func (e *env) now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock = e.clock.Add(time.Duration(e.clock.Unix()%7+1) * time.Millisecond)
	return e.clock
}

func (e *env) Info(message string, fields ...any) { e.line(message, fields) }
func (e *env) Warn(message string, fields ...any) { e.line("warning: "+message, fields) }

func (e *env) line(message string, fields []any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintln(&e.log, append([]any{message}, fields...)...)
}

func (e *env) result(t *testing.T, ports []string) Result {
	t.Helper()
	r := Result{Dir: e.env.Out, Withheld: e.withheld, Log: e.log.String(), Notes: e.notes}
	var b strings.Builder
	for _, port := range ports {
		path := filepath.Join(e.env.Out, port)
		if _, err := os.Stat(path); err != nil {
			fmt.Fprintf(&b, "%s is absent\n", port)
			continue
		}
		digest, err := digestOf(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n", port, digest)
	}
	if e.withheld != "" {
		fmt.Fprintf(&b, "withheld: %s\n", e.withheld)
	}
	r.Text = b.String()
	return r
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }

func checkDeclaration(t *testing.T, kind *stages.Kind) {
	if kind.Summary == "" || !strings.HasSuffix(kind.Summary, ".") {
		t.Errorf("the summary of %s is no sentence: %q", kind.Name, kind.Summary)
	}
	if kind.Version == "" {
		t.Errorf("%s has no version", kind.Name)
	}
	for _, f := range kind.Fields() {
		if strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: the help of %s ends in a full stop", kind.Name, f.Name)
		}
	}
}
