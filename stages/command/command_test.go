package command

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pipe/internal/document"
	"pipe/stages"
	"pipe/stages/stagetest"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.txt")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKind(t *testing.T) {
	stagetest.Run(t, Kind, stagetest.Case{With: `{shell: 'tr a-z A-Z <"$PIPE_IN_SRC" >"$PIPE_OUT_DST"; echo "$PIPE_PARAM_LEVEL" >>"$PIPE_OUT_DST"', params: {level: 3}}`,
		Inputs: map[string]string{"src": file(t, "hello\n")}, Outputs: []string{"dst"}})
}

func output(t *testing.T, with string) string {
	t.Helper()
	r := stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: map[string]string{"a-b": file(t, "x")}, Outputs: []string{"dst"}}, stagetest.Setting{})
	b, err := os.ReadFile(filepath.Join(r.Dir, "dst"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestArgumentsHoldPathsAndNothingIsExpandedTwice(t *testing.T) {
	got := output(t, `{argv: [sh, -c, 'printf "%s|" "$@" >"$0"', "${out.dst}", "${in.a-b}", "pre-${in.a-b}", "$${in.a-b}", "$HOME", "* ; true", 12, 1.50, true]}`)
	parts := strings.Split(got, "|")
	if !strings.HasSuffix(parts[0], "in.txt") || parts[1] != "pre-"+parts[0] {
		t.Errorf("paths: got %q", parts)
	}
	if want := "${in.a-b}|$HOME|* ; true|12|1.50|true|"; strings.Join(parts[2:], "|") != want {
		t.Errorf("got %q, want %q", strings.Join(parts[2:], "|"), want)
	}
}

func TestEnvironmentHoldsWhatIsDeclaredAndNoMore(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "hunter2")
	t.Setenv("LC_ALL", "C")
	got := output(t, `{shell: 'env >"$PIPE_OUT_DST"', params: {some-level: "a b"}}`)
	for _, want := range []string{"PIPE_IN_A_B=/", "PIPE_OUT_DST=/", "PIPE_PARAM_SOME_LEVEL=a b\n", "LC_ALL=C\n", "PATH=", "TMPDIR=/"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Error("the caller's environment is seen")
	}
}

func TestOutputIsLoggedLineByLine(t *testing.T) {
	r := stagetest.Execute(t, Kind, stagetest.Case{With: `{shell: 'echo one; echo two >&2; printf "no end" ; echo 1 >$PIPE_OUT_DST'}`, Outputs: []string{"dst"}}, stagetest.Setting{})
	for _, want := range []string{"one\n", "two\n", "no end\n"} {
		if !strings.Contains(r.Log, want) {
			t.Errorf("lacks %q in %q", want, r.Log)
		}
	}
}

func TestFailuresNameTheProgram(t *testing.T) {
	for with, want := range map[string]string{
		`{argv: [sh, -c, "exit 7"]}`:         "sh: exit status 7",
		`{argv: [no-such-program-anywhere]}`: "no-such-program-anywhere: there is no such program on PATH",
		`{shell: 'kill -9 $$'}`:              "signal: killed",
	} {
		if _, err := stagetest.Try(t, Kind, stagetest.Case{With: with}, stagetest.Setting{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", with, err, want)
		}
	}
}

func TestWhatAProgramLeavesRunningEndsWithIt(t *testing.T) {
	started := time.Now()
	r := stagetest.Execute(t, Kind, stagetest.Case{With: `{shell: 'sleep 60 & echo $! >$PIPE_OUT_PID'}`, Outputs: []string{"pid"}}, stagetest.Setting{})
	if spent := time.Since(started); spent > 30*time.Second {
		t.Errorf("waited %v for it", spent)
	}
	if !strings.Contains(r.Log, "left others running") {
		t.Errorf("log: %q", r.Log)
	}
	pid, _ := os.ReadFile(filepath.Join(r.Dir, "pid"))
	if _, err := os.Stat(filepath.Join("/proc", strings.TrimSpace(string(pid)), "cwd")); err == nil {
		t.Error("it is still there")
	}
}

func TestOthersOfTheGroupHaveTheirGrace(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	saved := filepath.Join(t.TempDir(), "saved")
	env := &stages.Env{Out: t.TempDir(), Scratch: t.TempDir(), Log: cancelOn{"ready", cancel}, Vars: map[string]string{"SAVED": saved}}
	// The shell dies of SIGTERM; what it started saves its work first.
	node, err := document.Parse("with", []byte(`shell: 'sh -c "trap \"sleep 0.3; echo 1 >$SAVED; exit\" TERM; echo ready; while :; do sleep 0.05; done" & wait'`))
	if err != nil {
		t.Fatal(err)
	}
	p, problems := Kind.Decode(node, node)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	started := time.Now()
	if err := Kind.Run(ctx, env, p, nil, nil); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(saved); err != nil {
		t.Error("it had no time to save")
	}
	if spent := time.Since(started); spent > grace {
		t.Errorf("took %v although all had ended", spent)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	r := stagetest.Execute(t, Kind, stagetest.Case{With: `{shell: 'head -c 150000 /dev/zero | tr "\0" x; echo; printf "a\r\n\nb"; echo 1 >$PIPE_OUT_DST'}`, Outputs: []string{"dst"}}, stagetest.Setting{})
	var lengths []int
	for line := range strings.SplitSeq(strings.TrimSuffix(r.Log, "\n"), "\n") {
		lengths = append(lengths, len(line))
	}
	if want := []int{longestLine, longestLine, 150000 - 2*longestLine, 1, 0, 1}; !slices.Equal(lengths, want) {
		t.Errorf("got lines of %v, want %v", lengths, want)
	}
}

func TestCancellingEndsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	env := &stages.Env{Out: t.TempDir(), Scratch: t.TempDir(), Log: cancelOn{"ready", cancel}}
	node, err := document.Parse("with", []byte(`shell: 'trap "" TERM; (trap "" TERM; sleep 60) & echo ready; wait'`))
	if err != nil {
		t.Fatal(err)
	}
	p, problems := Kind.Decode(node, node)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	started := time.Now()
	if err := Kind.Run(ctx, env, p, nil, nil); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if spent := time.Since(started); spent > 30*time.Second {
		t.Errorf("took %v", spent)
	}
}

// cancelOn cancels when a line is logged.
type cancelOn struct {
	line   string
	cancel func()
}

func (c cancelOn) Info(message string, _ ...any) {
	if message == c.line {
		c.cancel()
	}
}

func (cancelOn) Warn(string, ...any) {}

func TestParametersAreChecked(t *testing.T) {
	// Folded, because a line's limit is lower.
	long := strings.Repeat(strings.Repeat("x", 1023)+"\n ", 127) + strings.Repeat("x", 1024)
	for with, want := range map[string]string{
		`{}`:                                        "a command needs argv or shell",
		`{argv: [a], shell: b}`:                     "argv or shell, not both",
		`{shell: "cat ${in.src}"}`:                  "values arrive as environment variables",
		`{argv: [[a]]}`:                             "argv[0]: must be a string, got a list",
		`{argv: [""]}`:                              "argv[0]: must be a string",
		`{shell: x, params: {a: [1]}}`:              "params.a: must be a scalar",
		`{shell: x, params: {a-b: 1, a_b: 2}}`:      `are both $PIPE_PARAM_A_B`,
		`{shell: x, params: {"a b": 1}}`:            "must be made of letters",
		"{argv: [a, \"" + long + "\"]}":             "argument 1 has 131072 bytes; the system allows 131071",
		"{shell: x, params: {v: \"" + long + "\"}}": "params.v: has 131072 bytes",
	} {
		node, err := document.Parse("p", []byte(with))
		if err != nil {
			t.Fatal(err)
		}
		_, problems := Kind.Decode(node, node)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", with, err, want)
		}
	}
}
