package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// job is a command with the files it reads and the one it writes, all relative to
// the workload's folder.
type job struct {
	name   string
	in     string // a file or a folder of the workload, or "" where after is set
	after  string // the job whose output it reads
	script string // for sh; %s is the output
}

func (j job) output() string { return "made/" + j.name }

// input is the file that the job reads, for contestants that work in place.
func (j job) input() string {
	if j.after != "" {
		return "made/" + j.after
	}
	return j.in
}

// A contestant brings the jobs of a folder up to date.
type contestant struct {
	name    string
	most    int // jobs that it does for the first time in a bearable time; 0 is any number
	files   int // and files of a folder that a job reads
	write   func(dir string, jobs []job) error
	command func(b *bench, workers int) []string
}

// alone starts the jobs' processes and does nothing else: the cost that nobody can
// avoid.
const alone = "processes alone"

var contestants = []contestant{
	{name: "pipe", write: writePipe,
		command: func(b *bench, workers int) []string {
			return []string{b.pipe, "run", "pipe.yaml", "--jobs", strconv.Itoa(workers)}
		}},
	{name: "ninja", write: writeNinja,
		command: func(_ *bench, workers int) []string { return []string{"ninja", "-j", strconv.Itoa(workers)} }},
	{name: "make", write: writeMake, files: 10000,
		command: func(_ *bench, workers int) []string { return []string{"make", "-s", "-j", strconv.Itoa(workers)} }},
	{name: "dvc", write: writeDVC, most: 100, files: 10000,
		command: func(*bench, int) []string { return []string{"dvc", "repro", "-q"} }},
	{name: "snakemake", write: writeSnakemake, most: 100, files: 10000,
		command: func(_ *bench, workers int) []string {
			return []string{"snakemake", "-q", "all", "--cores", strconv.Itoa(workers)}
		}},
}

// available are the contestants that are installed and can do so many jobs, which read so
// many files.
func (b *bench) available(jobs, files int) []contestant {
	var list []contestant
	for _, c := range contestants {
		_, err := exec.LookPath(c.command(b, 1)[0])
		if err == nil && b.enters(c.name) && (c.most == 0 || jobs <= c.most) && (c.files == 0 || files <= c.files) {
			list = append(list, c)
		}
	}
	return list
}

// version is the first line that a contestant says of itself.
func (b *bench) version(c contestant) string {
	flag := "--version"
	if c.name == "pipe" {
		flag = "version"
	}
	out, err := exec.Command(c.command(b, 1)[0], flag).Output()
	if err != nil {
		return c.name
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return c.name + " " + strings.TrimPrefix(strings.TrimPrefix(line, "GNU Make "), "pipe ")
}

func writeFile(dir, name string, text *strings.Builder) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text.String()), 0o666)
}

func writePipe(dir string, jobs []job) error {
	var b strings.Builder
	b.WriteString("pipeline: speed\nstages:\n")
	for _, j := range jobs {
		in := "./" + j.in
		if j.after != "" {
			in = "${" + j.after + ".out}"
		}
		fmt.Fprintf(&b, "  %s:\n    uses: command\n    in: { src: \"%s\" }\n    out: [out]\n    with: { shell: '%s' }\n", j.name, in, fmt.Sprintf(j.script, `"$PIPE_OUT_OUT"`))
	}
	return writeFile(dir, "pipe.yaml", &b)
}

func writeNinja(dir string, jobs []job) error {
	var b strings.Builder
	b.WriteString("rule sh\n  command = $line\n")
	for _, j := range jobs {
		fmt.Fprintf(&b, "build %s: sh %s\n  line = %s\n", j.output(), strings.Join(inputs(dir, j), " "), fmt.Sprintf(j.script, j.output()))
	}
	return writeFile(dir, "build.ninja", &b)
}

func writeMake(dir string, jobs []job) error {
	var b, rules strings.Builder
	b.WriteString("all:")
	for _, j := range jobs {
		b.WriteString(" " + j.output())
		fmt.Fprintf(&rules, "%s: %s\n\t%s\n", j.output(), strings.Join(inputs(dir, j), " "), fmt.Sprintf(j.script, j.output()))
	}
	b.WriteString("\n" + rules.String())
	return writeFile(dir, "Makefile", &b)
}

func writeDVC(dir string, jobs []job) error {
	var b strings.Builder
	b.WriteString("stages:\n")
	for _, j := range jobs {
		fmt.Fprintf(&b, "  %s:\n    cmd: '%s'\n    deps: [%s]\n    outs: [%s]\n", j.name, fmt.Sprintf(j.script, j.output()), j.input(), j.output())
	}
	if err := writeFile(dir, "dvc.yaml", &b); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, ".dvc")); err == nil {
		return nil
	}
	cmd := exec.Command("dvc", "init", "-q", "--no-scm")
	cmd.Dir = dir
	return cmd.Run()
}

func writeSnakemake(dir string, jobs []job) error {
	var b, rules strings.Builder
	b.WriteString("rule all:\n    input: [")
	for i, j := range jobs {
		fmt.Fprintf(&b, "%q, ", j.output())
		fmt.Fprintf(&rules, "\nrule r%d:\n    input: %q\n    output: %q\n    shell: %q\n", i, j.input(), j.output(), fmt.Sprintf(j.script, j.output()))
	}
	b.WriteString("]\n" + rules.String())
	return writeFile(dir, "Snakefile", &b)
}

// inputs lists the files that a job reads, for contestants that know no folders.
func inputs(dir string, j job) []string {
	name := j.input()
	entries, err := os.ReadDir(filepath.Join(dir, name))
	if err != nil || j.after != "" {
		return []string{name}
	}
	files := make([]string, len(entries))
	for i, e := range entries {
		files[i] = name + "/" + e.Name()
	}
	return files
}

// workers is how many jobs contestants may run at once.
func workers() int { return runtime.NumCPU() }
