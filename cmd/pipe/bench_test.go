package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkNoop runs the built program on the shipped pipeline when everything is
// cached: process start, reading the file, keys, looking up, publishing nothing.
func BenchmarkNoop(b *testing.B) {
	dir := b.TempDir()
	pipe := filepath.Join(dir, "pipe")
	run := func(name string, args ...string) {
		b.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != exitGate {
			b.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("go", "build", "-o", pipe, ".")
	b.Chdir(dir)
	run(pipe, "init")
	run(pipe, "run", "--set", "train-qlora.max_steps=2")
	for b.Loop() {
		run(pipe, "run", "--set", "train-qlora.max_steps=2")
	}
}
