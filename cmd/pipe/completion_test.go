//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// completions are lines as they are typed, and what a TAB makes of the last word.
var completions = []struct{ typed, want string }{
	{"pipe stag", "stages"},
	{"pipe compl", "completion"},
	{"pipe completion f", "fish"},
	{"pipe run --prof", "--profile"},
	{"pipe run --profile m", "mistral-7b"},
	{"pipe run --profile=m", "--profile=mistral-7b"},
	{"pipe run pipelines/m", "pipelines/mistral-behaviors.yaml"},
	{"pipe run pipelines/mistral-behaviors.yaml train", "train-qlora"},
	{"pipe run --set tr", "train-qlora."},
	{"pipe run --set train-qlora.schedule_", "train-qlora.schedule_steps="},
	{"pipe run --set train-qlora.schedule=lin", "train-qlora.schedule=linear"},
	{"pipe run --set=train-qlora.health.overfitting.l", "--set=train-qlora.health.overfitting.loss_below="},
	{"pipe get tokenize-and-mask.t", "tokenize-and-mask.tokens"},
	{"pipe log sel", "select-best"},
	{"pipe graph --format m", "mermaid"},
	{"pipe stages quant", "quantize-base"},
	{"pipe check two\\ words/a", "two words/a b.yaml"},
	{"pipe check 'two words/a", "two words/a b.yaml"},
	{"pipe check two\\ w", "two words/"},
}

// TestShellsComplete types lines into real shells and presses TAB.
func TestShellsComplete(t *testing.T) {
	work := t.TempDir()
	env := append(os.Environ(), "HOME="+work, "XDG_CONFIG_HOME="+work, "XDG_DATA_HOME="+work, "XDG_CACHE_HOME="+work, "TERM=xterm", "ZDOTDIR="+work, "INPUTRC=/dev/null")
	initial := exec.Command("pipe", "init") // which testscript.Main has put on the path
	initial.Dir = work
	if out, err := initial.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(work, "two words"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "two words", "a b.yaml"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, shell := range []struct {
		name  string
		args  []string
		setup string
	}{
		{"bash", []string{"--norc", "--noprofile", "-i"}, "bind 'set enable-bracketed-paste off'; source <(pipe completion bash)"},
		{"zsh", []string{"-f", "-i"}, "unsetopt zle_bracketed_paste automenu; unset zle_bracketed_paste; autoload -Uz compinit && compinit -u -D; source <(pipe completion zsh)"},
		{"fish", nil, ""},
	} {
		t.Run(shell.name, func(t *testing.T) {
			path, err := exec.LookPath(shell.name)
			if err != nil {
				t.Skipf("%s is not installed", shell.name)
			}
			if shell.name == "fish" {
				fishCompletes(t, path, work, env)
				return
			}
			term := startShell(t, exec.Command(path, shell.args...), work, env)
			term.send("PS1=; PS2=; " + shell.setup + "; echo REA''DY\r")
			if out, ok := term.until("READY"); !ok {
				t.Fatalf("the shell does not start:\n%s", out)
			}
			for i, c := range completions {
				// Control-A goes to the line's beginning: what was completed is
				// printed word by word instead of run.
				term.send(c.typed + "\t")
				mark := fmt.Sprintf("LINE%d", i)
				term.send("\x01printf '<%s>' " + mark[:4] + "''" + mark[4:] + " \x05; echo\r")
				out, ok := term.until("<" + mark + ">")
				if !ok {
					t.Fatalf("%s: no answer:\n%s", c.typed, out)
				}
				rest, _ := term.until("\n")
				if !strings.Contains(rest, "<"+c.want+">") {
					t.Errorf("%s: got %q, want its last word to be %s", c.typed, rest, c.want)
				}
			}
		})
	}
}

func TestQuotesOfAShellAreTakenAway(t *testing.T) {
	for word, want := range map[string]string{"plain": "plain", `a\ b`: "a b", `'a b`: "a b", `"a b"`: "a b", `'a\b'`: `a\b`, `"a\"b`: `a"b`, `it"'"s`: "it's", `\`: "", "": ""} {
		if got := unquoted(word); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}

// fishCompletes asks fish's own engine, which does so without a terminal.
func fishCompletes(t *testing.T, path, work string, env []string) {
	for _, c := range completions {
		cmd := exec.Command(path, "--no-config", "-c", "pipe completion fish | source; complete -C $argv[1]", c.typed)
		cmd.Dir, cmd.Env = work, env
		out, err := cmd.Output()
		first, _, _ := strings.Cut(strings.TrimRight(string(out), "\n"), "\n")
		word, _, _ := strings.Cut(first, "\t")
		if err != nil || !strings.HasPrefix(word, c.want) {
			t.Errorf("%s: got %q, %v, want %s", c.typed, out, err, c.want)
		}
	}
}

// terminal is a shell in a pseudo-terminal.
type terminal struct {
	t    *testing.T
	keys *os.File
	read chan string
	seen string
}

func startShell(t *testing.T, cmd *exec.Cmd, dir string, env []string) *terminal {
	t.Helper()
	master, slave, err := openTerminal()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	term := &terminal{t: t, keys: master, read: make(chan string, 1000)}
	go func() {
		defer close(term.read)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if n > 0 {
				term.read <- string(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		master.Close()
	})
	return term
}

// openTerminal returns both sides of a pseudo-terminal, wide enough for no line to
// be wrapped.
func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 400})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}

func (term *terminal) send(keys string) {
	if _, err := term.keys.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// until reads until a text has come and returns what stood before it.
func (term *terminal) until(text string) (before string, ok bool) {
	timeout := time.After(20 * time.Second)
	for {
		if before, after, found := strings.Cut(term.seen, text); found {
			term.seen = after
			return before, true
		}
		select {
		case s, open := <-term.read:
			if !open {
				return term.seen, false
			}
			term.seen += s
		case <-timeout:
			return term.seen, false
		}
	}
}
