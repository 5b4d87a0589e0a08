package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	var b bench
	pipe := flag.String("pipe", "bin/pipe", "the pipe to measure")
	dir := flag.String("dir", "", "where workloads are made; they stay there and need not be made again (default: a temporary folder)")
	only := flag.String("only", "", "measure the workloads whose names match this expression")
	out := flag.String("o", "", "write the report to this file, too")
	flag.IntVar(&b.rounds, "rounds", 9, "how often each contestant runs")
	flag.StringVar(&b.contestants, "tools", "pipe,ninja,make,dvc,snakemake", "the contestants, those that are installed")
	flag.Parse()
	if err := run(&b, *pipe, *dir, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "speedtest:", err)
		os.Exit(1)
	}
}

func run(b *bench, pipe, dir, only, out string) error {
	var err error
	if b.pipe, err = filepath.Abs(pipe); err != nil {
		return err
	}
	if _, err := os.Stat(b.pipe); err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "speedtest-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if b.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	chosen, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	report := &report{}
	report.heading(b)
	for _, w := range workloads {
		if !chosen.MatchString(w.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …\n", w.name)
		rows, err := b.measure(w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		report.workload(w, rows)
	}
	fmt.Print(report.String())
	if out != "" {
		return os.WriteFile(out, []byte(report.String()), 0o666)
	}
	return nil
}

// bench is where and how workloads are measured.
type bench struct {
	pipe        string // the binary
	dir         string
	rounds      int
	contestants string
}

// enters says whether a contestant was asked for.
func (b *bench) enters(name string) bool {
	for _, c := range strings.Split(b.contestants, ",") {
		if c == name {
			return true
		}
	}
	return name == alone
}
