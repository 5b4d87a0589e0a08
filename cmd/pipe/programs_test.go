package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// tell is a program for command stages: it writes what it was handed to the file named
// first, as JSON.
func tell() {
	told := map[string]any{"argv": os.Args[2:], "env": os.Environ()}
	b, err := json.Marshal(told)
	if err == nil {
		err = os.WriteFile(os.Args[1], b, 0o666)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// told is what tell wrote.
type told struct {
	Argv, Env []string
}

// variable returns what a program found in its environment.
func (x told) variable(name string) (string, bool) {
	for _, v := range x.Env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// blab is a program for command stages: it says every variable whose name begins with
// SECRET_ in every way it knows, in pieces, on standard output and standard error by
// turns. Its first argument is the seed of the pieces, its second the exit status.
func blab() {
	seed, _ := strconv.ParseUint(os.Args[1], 10, 64)
	status, _ := strconv.Atoi(os.Args[2])
	random := rand.New(rand.NewPCG(seed, 0))
	var all bytes.Buffer
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "SECRET_") {
			continue
		}
		for _, said := range sayings(value) {
			all.WriteString("say " + said + " end")
			if random.IntN(3) == 0 {
				all.WriteString("\n")
			}
		}
	}
	for rest := all.Bytes(); len(rest) > 0; {
		n := min(1+random.IntN(60), len(rest))
		to := os.Stdout
		if random.IntN(2) == 0 {
			to = os.Stderr
		}
		to.Write(rest[:n])
		rest = rest[n:]
	}
	if len(os.Args) > 3 {
		os.WriteFile(os.Args[3], []byte("done"), 0o666)
	}
	os.Exit(status)
}

// execute runs a program in a folder, with variables besides its own environment, and
// returns what it printed and its exit status.
func execute(t *testing.T, dir string, vars []string, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), vars...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
