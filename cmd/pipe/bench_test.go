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
	pipe := buildPipe(b)
	execute(b, pipe, "run", "--set", "train-qlora.max_steps=2")
	for b.Loop() {
		execute(b, pipe, "run", "--set", "train-qlora.max_steps=2")
	}
}

// BenchmarkCompletion is what a TAB takes of the built program.
func BenchmarkCompletion(b *testing.B) {
	pipe := buildPipe(b)
	for b.Loop() {
		execute(b, pipe, "complete", "--", "run", "--set", "train-qlora.")
	}
}

// BenchmarkCheck checks the shipped pipeline.
func BenchmarkCheck(b *testing.B) {
	pipe := buildPipe(b)
	for b.Loop() {
		execute(b, pipe, "check", "--strict")
	}
}

// buildPipe builds the program and goes to a folder with the shipped pipeline.
func buildPipe(b *testing.B) (pipe string) {
	b.Helper()
	dir := b.TempDir()
	pipe = filepath.Join(dir, "pipe")
	execute(b, "go", "build", "-o", pipe, ".")
	b.Chdir(dir)
	execute(b, pipe, "init")
	return pipe
}

func execute(b *testing.B, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != exitGate {
		b.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
