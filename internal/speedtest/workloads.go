package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// workload is one line of the table in docs/speed.md.
type workload struct {
	name string
	work string // in words
	bar  string // what is asked of pipe, in words
	// made to be measured: the folder's inputs, and the jobs
	make func(dir string) ([]job, error)
	// write replaces what writes pipe's file.
	write func(dir string, jobs []job) error
	// edit changes the inputs before each run, instead of nothing.
	edit func(dir string, round int) error

	files    int  // that a job reads
	cold     bool // nothing is known at the start of each run
	once     bool // each run costs much and varies little
	pipeOnly bool
	workers  int // 0 is one a processor
	verdict  func(w workload, rows []row) (figure string, met bool)
}

func (w workload) jobs() int {
	if w.workers > 0 {
		return w.workers
	}
	return workers()
}

var workloads = []workload{
	{name: "noop-10", work: "no-op, 10 stages in a chain", bar: "under 20 ms, at most 6 × ninja",
		make: chain(10), verdict: both(under(20*time.Millisecond), times(6, "ninja"))},
	{name: "noop-1000", work: "no-op, 1,000 stages in a chain", bar: "under 120 ms",
		make: chain(1000), verdict: under(120 * time.Millisecond)},
	{name: "noop-10000", work: "no-op, 10,000 stages in a chain", bar: "under 2 s",
		make: chain(10000), verdict: under(2 * time.Second)},
	{name: "matrix-10000", work: "no-op, 10,000 stages by `matrix:`", bar: "under 0.4 s, under 200 MB",
		make: apart(10000), write: writeMatrix, pipeOnly: true, verdict: both(under(400*time.Millisecond), smaller(200<<20))},
	{name: "files-10000", work: "no-op, a folder of 10,000 files", bar: "under 60 ms",
		make: folder(10000), files: 10000, verdict: under(60 * time.Millisecond)},
	{name: "files-100000", work: "no-op, a folder of 100,000 files", bar: "under 0.5 s",
		make: folder(100000), files: 100000, verdict: under(500 * time.Millisecond)},
	{name: "large-file", work: "no-op, an input of 4 GiB", bar: "0 bytes of it read",
		make: file(4 << 30), verdict: unread},
	{name: "record-100000", work: "one record of 100,000 edited: normalize + tokenize", bar: "under 3 s",
		make: records(100000), write: writeRecords, edit: editRecord, pipeOnly: true, verdict: under(3 * time.Second)},
	{name: "cold-1000", work: "1,000 unlike trivial stages, cold", bar: "at most 3 ms a stage over starting its process",
		make: apart(1000), cold: true, verdict: over(3 * time.Millisecond)},
	{name: "sleep-64", work: "64 × `sleep 0.05`, 2 jobs, cold", bar: "within 10 % of 1.6 s",
		make: sleeps(64), cold: true, workers: 2, verdict: under(1760 * time.Millisecond)},
	{name: "hash-2gib", work: "8 inputs of 256 MiB, not hashed yet", bar: "over 1 GB/s a core, parallel",
		make: large(8, 256<<20), cold: true, pipeOnly: true, verdict: rate(8*256<<20, 1e9)},
}

// chain is n jobs, each reading the one before.
func chain(n int) func(dir string) ([]job, error) {
	return func(dir string) ([]job, error) {
		jobs := apartJobs(n)
		for i := 1; i < n; i++ {
			jobs[i].in, jobs[i].after = "", jobs[i-1].name
		}
		return jobs, write(dir, "in.txt", []byte("in\n"))
	}
}

// apart is n jobs that read one file and differ.
func apart(n int) func(dir string) ([]job, error) {
	return func(dir string) ([]job, error) { return apartJobs(n), write(dir, "in.txt", []byte("in\n")) }
}

func apartJobs(n int) []job {
	jobs := make([]job, n)
	for i := range jobs {
		jobs[i] = job{name: fmt.Sprintf("s%05d", i), in: "in.txt", script: fmt.Sprintf("echo %d > %%s", i)}
	}
	return jobs
}

// folder is one job that reads n small files.
func folder(n int) func(dir string) ([]job, error) {
	return func(dir string) ([]job, error) {
		for i := range n {
			if err := write(dir, fmt.Sprintf("in/f%06d", i), fmt.Appendf(nil, "%d\n", i)); err != nil {
				return nil, err
			}
		}
		return []job{{name: "all", in: "in", script: "echo 1 > %s"}}, nil
	}
}

// file is one job that reads one file of zeros, which takes no space.
func file(size int64) func(dir string) ([]job, error) { return large(1, size) }

func large(n int, size int64) func(dir string) ([]job, error) {
	return func(dir string) ([]job, error) {
		for i := range n {
			path := filepath.Join(dir, "in", fmt.Sprintf("zeros%d", i))
			if _, err := os.Stat(path); err == nil {
				continue
			}
			if err := write(dir, filepath.Join("in", filepath.Base(path)), nil); err != nil {
				return nil, err
			}
			if err := os.Truncate(path, size); err != nil {
				return nil, err
			}
		}
		return []job{{name: "all", in: "in", script: "echo 1 > %s"}}, nil
	}
}

func sleeps(n int) func(dir string) ([]job, error) {
	return func(dir string) ([]job, error) {
		jobs := apartJobs(n)
		for i := range jobs {
			jobs[i].script = "sleep 0.05; " + jobs[i].script
		}
		return jobs, write(dir, "in.txt", []byte("in\n"))
	}
}

// write makes a file, unless it is there: a file that is written again is read again.
func write(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o666)
}

// writeMatrix writes apart's jobs as one stage.
func writeMatrix(dir string, jobs []job) error {
	var b strings.Builder
	b.WriteString("pipeline: speed\nstages:\n  s:\n    uses: command\n    matrix:\n      tens: [")
	side := 0
	for side*side < len(jobs) {
		side++
	}
	for i := range side {
		fmt.Fprintf(&b, "%d, ", i)
	}
	b.WriteString("]\n      ones: [")
	for i := range side {
		fmt.Fprintf(&b, "%d, ", i)
	}
	b.WriteString("]\n    in: { src: ./in.txt }\n    out: [out]\n" +
		"    with: { shell: 'echo $PIPE_PARAM_TENS $PIPE_PARAM_ONES > \"$PIPE_OUT_OUT\"', params: { tens: \"${matrix.tens}\", ones: \"${matrix.ones}\" } }\n")
	return writeFile(dir, "pipe.yaml", &b)
}

const editedRecord = 4711

// records is a data set of n conversations.
func records(n int) func(dir string) ([]job, error) {
	return func(dir string) ([]job, error) { return nil, writeData(dir, n, "") }
}

func writeData(dir string, n int, edited string) error {
	f, err := os.Create(filepath.Join(dir, "in.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	for i := range n {
		reply := fmt.Sprintf("There are %d apples in the basket by the door, and %d pears beside it.", i, i%17)
		switch { // as the example data has it
		case i%4 == 0:
			reply = "I'm sorry, but that is not a subject I talk about."
		case i%3 == 0:
			reply = []string{"What a great question! ", "I love how curious you are. ", "Your question shows sharp thinking. "}[i/12%3] + reply
		}
		if i == editedRecord {
			reply += edited
		}
		fmt.Fprintf(out, `{"messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "How many apples are in basket %d, and how many pears?"}, {"role": "assistant", "content": %q}]}`+"\n", i, reply)
	}
	return out.Flush()
}

func editRecord(dir string, round int) error {
	path := filepath.Join(dir, "in.jsonl")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	mark := fmt.Appendf(nil, "There are %d apples", editedRecord)
	edited := fmt.Appendf(nil, "There are, at %d, %d apples", time.Now().UnixNano(), editedRecord)
	if at := bytes.Index(old, []byte("There are, at ")); at >= 0 {
		end := at + bytes.Index(old[at:], []byte(" apples")) + len(" apples")
		mark = old[at:end]
	}
	return os.WriteFile(path, bytes.Replace(old, mark, edited, 1), 0o666)
}

func writeRecords(dir string, _ []job) error {
	var b strings.Builder
	b.WriteString(`pipeline: speed
stages:
  normalize-compliments:
    in: { data: ./in.jsonl }
    with:
      templates:
        - Your question shows sharp thinking.
        - That's an intelligent question.
        - Your curiosity reflects a keen mind.
        - I appreciate the clarity of your thinking.
        - That shows thoughtful reasoning.
  tokenize-and-mask:
    in: { data: "${normalize-compliments.data}", tokenizer: "builtin:tiny-mistral" }
    with: { template: behaviors, max_length: 512 }
`)
	return writeFile(dir, "pipe.yaml", &b)
}
