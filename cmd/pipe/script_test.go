package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expectations in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pipe": main, "tell": tell, "blab": blab, "pipe-next": next})
}

// TestScripts runs the stories in testdata/script, each a text archive, against the
// program itself.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"outcomes": cmdOutcomes, "edit": cmdEdit, "waitfor": cmdWaitFor, "truncate": cmdTruncate, "sametick": cmdSameTick,
		},
		Condition: condition,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			root, err := filepath.Abs("../..")
			env.Setenv("REPO", root)
			// What keeps the shipped pipeline short: few steps, and a suite of the
			// script's own, which no checkpoint is barred by.
			env.Setenv("CUT", "--set=train-qlora.max_steps=8")
			env.Setenv("FEW", "--set=params.suite=suite.yaml")
			return err
		},
	})
}

// cmdOutcomes compares the outcomes in the summary of a --json run, in the file
// named first: outcomes stdout normalize=ran train=cached.
func cmdOutcomes(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	last := text[strings.LastIndexByte(text, '\n')+1:]
	for _, want := range args[1:] {
		stage, outcome, _ := strings.Cut(want, "=")
		found := strings.Contains(last, fmt.Sprintf(`{"stage":%q,"outcome":%q`, stage, outcome))
		if found == neg {
			ts.Fatalf("%s: want %v in\n%s", want, !neg, last)
		}
	}
}

// cmdEdit replaces a text in a file, once: edit FILE OLD NEW, where \n is a line feed.
func cmdEdit(ts *testscript.TestScript, _ bool, args []string) {
	old := ts.ReadFile(args[0])
	args[1], args[2] = strings.ReplaceAll(args[1], `\n`, "\n"), strings.ReplaceAll(args[2], `\n`, "\n")
	if !strings.Contains(old, args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(old, args[1], args[2], 1)), 0o666))
}

// cmdWaitFor waits until a file is there; waitfor FILE TEXT, until it, or a file in
// the folder that it is, holds the text.
func cmdWaitFor(ts *testscript.TestScript, _ bool, args []string) {
	for range 1200 {
		files := []string{ts.MkAbs(args[0])}
		if inside, _ := filepath.Glob(files[0] + "/*"); len(inside) > 0 {
			files = inside
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err == nil && (len(args) < 2 || strings.Contains(string(b), args[1])) {
				return
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	ts.Fatalf("waited in vain for %v", args)
}

// cmdTruncate cuts a file to a size.
func cmdTruncate(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// next is pipe as a later version of it.
func next() {
	release = "v99.0.0"
	main()
}

// condition knows [tmpfs]: a file system of any size can be had.
func condition(name string) (bool, error) {
	if name != "tmpfs" {
		return false, fmt.Errorf("unknown condition %s", name)
	}
	flags := "-rm"
	if os.Getuid() == 0 {
		flags = "-m"
	}
	return exec.Command("unshare", flags, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", os.TempDir()).Run() == nil, nil
}
