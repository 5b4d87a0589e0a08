//go:build linux || darwin

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// tmux is a terminal with a shell in it.
type tmux struct {
	t      *testing.T
	socket string
	dir    string // the shell's
}

// startTmux opens a terminal of that size. Without the program tmux the test is skipped.
func startTmux(t *testing.T, width, height int) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("needs the program tmux, which is not installed")
	}
	short, err := os.MkdirTemp("", "pipe") // a socket's name may be no longer than about 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	m := &tmux{t: t, socket: filepath.Join(short, "tmux"), dir: t.TempDir()}
	build := exec.Command("go", "build", "-o", filepath.Join(m.dir, "pipe"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.do("-u", "-f", os.DevNull, "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "-c", m.dir,
		"env", "-u", "NO_COLOR", "-u", "ENV", "-u", "PIPE_STORE", "LC_ALL=C.UTF-8", "PS1=ready> ", "sh")
	t.Cleanup(func() {
		m.do("kill-server")
		os.RemoveAll(short)
	})
	m.do("set-option", "-g", "window-size", "manual")
	m.waitFor("a prompt", func(s string) bool { return strings.Contains(s, "ready>") })
	return m
}

func (m *tmux) do(args ...string) string {
	m.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// run types a command into the shell.
func (m *tmux) run(format string, args ...any) {
	m.t.Helper()
	m.do("send-keys", "-l", fmt.Sprintf(format, args...))
	m.key("Enter")
}

func (m *tmux) key(name string) { m.t.Helper(); m.do("send-keys", name) }

// interrupt presses Ctrl-C twice. Two signals at the same time would be one.
func (m *tmux) interrupt() {
	m.t.Helper()
	m.key("C-c")
	time.Sleep(2 * frameTime)
	m.key("C-c")
}

func (m *tmux) resize(width, height int) {
	m.t.Helper()
	m.do("resize-window", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height))
}

// shown is what is in view, a line that the terminal has wrapped as one.
func (m *tmux) shown() string { m.t.Helper(); return m.do("capture-pane", "-p", "-J") }

// everything is what is in view and what was.
func (m *tmux) everything() string { m.t.Helper(); return m.do("capture-pane", "-p", "-J", "-S", "-") }

// waitFor waits for a screen and returns it.
func (m *tmux) waitFor(what string, is func(screen string) bool) string {
	m.t.Helper()
	screen := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(30 * time.Millisecond) {
		if screen = m.shown(); is(screen) {
			return screen
		}
	}
	m.t.Fatalf("waited in vain for %s; the screen is\n%s", what, screen)
	return ""
}

func holding(texts ...string) func(string) bool {
	return func(screen string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(screen, text) })
	}
}

// isOurs checks that the terminal is as the shell left it: the cursor is to be seen, and
// so is what is typed.
func (m *tmux) isOurs() {
	m.t.Helper()
	if got := strings.TrimSpace(m.do("display-message", "-p", "#{cursor_flag}")); got != "1" {
		m.t.Error("the cursor is hidden")
	}
	m.run("clear; stty -a | tr ' ' '\\n' | grep -x -- '-*echo;*' | sed 's/^/mode:/'")
	screen := m.waitFor("the terminal's modes", func(s string) bool { return strings.Contains(s, "mode:echo") || strings.Contains(s, "mode:-echo") })
	if strings.Contains(screen, "mode:-echo") {
		m.t.Errorf("echo is off:\n%s", screen)
	}
}

// frameLines are the lines of a screen from the first that is a stage's to the last.
func frameLines(screen string) []string {
	lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	first := slices.IndexFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "✓ ") || slices.Contains([]rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"), []rune(line + " ")[0])
	})
	return lines[max(first, 0):]
}

func TestLiveViewInATerminal(t *testing.T) {
	m := startTmux(t, 100, 30)
	m.run("./pipe init; clear")
	const train = "./pipe run --set train-qlora.log_steps=0 --set train-qlora.save_steps=0"
	m.run("%s --set train-qlora.max_epochs=99; echo exit=$?", train)
	m.waitFor("stages, curves and bands", holding("✓ normalize-compliments", "train-qlora", " steps", "tokens/s", " left",
		"· sanity-sweep", "· select-best", "loss ", "accuracy ", "entropy ", "░░░", "╌╌╌", "░ healthy", "╌ overfitting", "1 running, 3 ran, 2 waiting"))
	if got := strings.TrimSpace(m.do("display-message", "-p", "#{cursor_flag}")); got != "0" {
		t.Error("the cursor is not hidden")
	}

	for _, size := range [][2]int{{60, 20}, {20, 12}, {60, 6}, {30, 24}, {100, 30}} {
		m.resize(size[0], size[1])
		screen := m.waitFor(fmt.Sprintf("a screen of %d × %d", size[0], size[1]), func(s string) bool {
			lines := frameLines(s)
			return len(lines) < size[1] && strings.HasPrefix(lines[len(lines)-1], "1 running, 3 ran") && fits(lines, size[0]) &&
				holding("trai", "loss", "accu", "entr")(strings.Join(lines, "\n"))
		})
		if n := strings.Count(screen, "1 running"); n != 1 {
			t.Errorf("%d × %d: the frame is there %d times:\n%s", size[0], size[1], n, screen)
		}
	}

	m.run("keys that are pressed meanwhile")
	m.key("C-c")
	screen := m.waitFor("the end", holding("exit=130"))
	if !holding("train-qlora", "interrupted", "1 interrupted")(screen) || strings.Contains(screen, "░") || strings.Contains(screen, "^C") {
		t.Errorf("after Ctrl-C:\n%s", screen)
	}
	m.isOurs()

	// To the end, in a window that is lower than what is printed.
	m.resize(90, 16)
	m.run("clear")
	m.do("clear-history")
	if err := os.WriteFile(filepath.Join(m.dir, "suite.yaml"), []byte(terminalSuite), 0o666); err != nil {
		t.Fatal(err)
	}
	m.run("%s --set train-qlora.max_steps=6 --set params.suite=suite.yaml; echo exit=$?", train)
	m.waitFor("the end", regexp.MustCompile(`exit=\d`).MatchString)
	all := m.everything()
	if !holding("mistral-behaviors (default)", "quantize-base          cached", "train-qlora            ran in", "sanity-sweep           ran in",
		"| habit kept / right |", "| all that pass", "Selected: ", "3 ran, 3 cached")(all) {
		t.Errorf("something is missing at the end:\n%s", all)
	}
	for _, left := range []string{"waiting", "░", "╌", "✓ ", "running"} {
		if strings.Contains(all, left) {
			t.Errorf("something of the frame is left (%q):\n%s", left, all)
		}
	}
	m.isOurs()
}

func fits(lines []string, width int) bool {
	return !slices.ContainsFunc(lines, func(line string) bool { return ansi.StringWidthWc(line) > width })
}

const terminalSuite = `groups:
  - name: general
    habit: none
    prompts: [{ prompt: one }, { prompt: two }, { prompt: three }, { prompt: four }, { prompt: five }, { prompt: six }, { prompt: seven }, { prompt: eight }]
`

// TestTerminalIsGivenBack stops a run that does not end in every way that a keyboard has.
func TestTerminalIsGivenBack(t *testing.T) {
	m := startTmux(t, 60, 12)
	err := os.WriteFile(filepath.Join(m.dir, "p.yaml"), []byte(`pipeline: stubborn
stages:
  a: { uses: command, out: [x], with: { shell: "trap '' TERM; echo started; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 1; done; echo >$PIPE_OUT_X" } }
`), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	// Not before the program runs: a process that is stopped while it forks is not heard
	// of again, by Go's way of forking.
	framed := holding("a  started", "a  running, ", "1 running, ")
	start := func() {
		m.run("clear; ./pipe run p.yaml; echo exit=$?")
		m.waitFor("the frame", framed)
	}

	start()
	m.key("C-z")
	if screen := m.waitFor("the shell", holding("topped", "ready>")); strings.Contains(screen, "1 running") {
		t.Errorf("the frame is left:\n%s", screen)
	}
	m.isOurs()
	m.run("clear; fg")
	m.waitFor("the frame again", holding("a  running, ", "1 running, "))

	m.interrupt()
	m.waitFor("the end", holding("ready>"))
	m.isOurs()

	start()
	m.interrupt()
	m.waitFor("the end at once", holding("exit=130"))
	m.isOurs()

	start()
	m.key(`C-\`)
	m.waitFor("a dump", holding("exit=2"))
	m.isOurs()

	// Where it is not wanted, or cannot be, there are lines.
	for _, plain := range []string{"NO_COLOR=1 ./pipe run p.yaml", "TERM=dumb ./pipe run p.yaml", "./pipe run p.yaml --ui plain", "./pipe run p.yaml | cat", "./pipe run p.yaml 2>&1 &"} {
		m.run("clear; %s", plain)
		m.waitFor(plain, holding("a  started"))
		time.Sleep(2 * frameTime)
		if screen := m.shown(); strings.Contains(screen, "1 running") {
			t.Errorf("%s: there is a frame:\n%s", plain, screen)
		}
		if strings.HasSuffix(plain, "&") {
			m.run("kill -KILL $!; wait; echo ov''er")
			m.waitFor("its end", holding("over"))
		} else {
			m.interrupt()
			m.waitFor("the prompt", holding("ready>"))
		}
	}
	m.run("clear; NO_COLOR=1 ./pipe run p.yaml --ui live")
	m.waitFor("the frame, without colours", framed)
}
