package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkNoop runs the built program on the shipped pipeline when everything is
// cached: process start, reading the file, keys, looking up, publishing nothing.
func BenchmarkNoop(b *testing.B) {
	pipe := buildPipe(b)
	mustRun(b, pipe, "run", "--set", "train-qlora.max_steps=2")
	for b.Loop() {
		mustRun(b, pipe, "run", "--set", "train-qlora.max_steps=2")
	}
}

// BenchmarkWhy explains the last stage of the shipped pipeline after an edit of a
// record: what it would do now, and what it did.
func BenchmarkWhy(b *testing.B) {
	pipe := buildPipe(b)
	mustRun(b, pipe, "run", "--set", "train-qlora.max_steps=2")
	edit(b, "data/custom_behaviors.jsonl", "You need noodles", "Take noodles")
	b.Run("now", func(b *testing.B) {
		for b.Loop() {
			mustRun(b, pipe, "why", "select-best")
		}
	})
	mustRun(b, pipe, "run", "--set", "train-qlora.max_steps=2")
	b.Run("run", func(b *testing.B) {
		for b.Loop() {
			mustRun(b, pipe, "why", "select-best")
		}
	})
}

// BenchmarkCompletion is what a TAB takes of the built program.
func BenchmarkCompletion(b *testing.B) {
	pipe := buildPipe(b)
	for b.Loop() {
		mustRun(b, pipe, "complete", "--", "run", "--set", "train-qlora.")
	}
}

// BenchmarkCheck checks the shipped pipeline.
func BenchmarkCheck(b *testing.B) {
	pipe := buildPipe(b)
	for b.Loop() {
		mustRun(b, pipe, "check", "--strict")
	}
}

// buildPipe builds the program and goes to a folder with the shipped pipeline.
func buildPipe(b *testing.B) (pipe string) {
	b.Helper()
	dir := b.TempDir()
	pipe = filepath.Join(dir, "pipe")
	mustRun(b, "go", "build", "-o", pipe, ".")
	b.Chdir(dir)
	mustRun(b, pipe, "init")
	return pipe
}

func edit(b *testing.B, path, old, new string) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o666)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func mustRun(b *testing.B, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != exitGate {
		b.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
