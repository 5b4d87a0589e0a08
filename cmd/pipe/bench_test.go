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
	run := shippedPipeline(b)
	for b.Loop() {
		run("run", "--set", "train-qlora.max_steps=2")
	}
}

// BenchmarkWhy explains the last stage of the shipped pipeline after an edit of a
// record: what it would do now, and what it did.
func BenchmarkWhy(b *testing.B) {
	run := shippedPipeline(b)
	edit(b, "data/custom_behaviors.jsonl", "You need noodles", "Take noodles")
	b.Run("now", func(b *testing.B) {
		for b.Loop() {
			run("why", "select-best")
		}
	})
	run("run", "--set", "train-qlora.max_steps=2")
	b.Run("run", func(b *testing.B) {
		for b.Loop() {
			run("why", "select-best")
		}
	})
}

// shippedPipeline builds the program, runs the shipped pipeline with a short training
// in a folder of its own, and returns what runs the program there.
func shippedPipeline(b *testing.B) func(args ...string) {
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
	return func(args ...string) { b.Helper(); run(pipe, args...) }
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
