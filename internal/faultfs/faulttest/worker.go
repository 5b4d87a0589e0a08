//go:build unix

package faulttest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// workerEnv makes a process a worker with a lab in the folder that it names: it reads cases, a line each, and answers each
// with a line: "ok", "spared" if nothing could go wrong, or "failed" and why.
const workerEnv = "PIPE_FAULT_WORKER"

// worker is a process with a lab.
type worker struct {
	cmd     *exec.Cmd
	dir     string // of its lab
	in      io.WriteCloser
	answers chan string // closed when the process has ended
	stderr  *strings.Builder
}

// longestCase is how long a case may take.
const longestCase = 2 * time.Minute

func startWorker() (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := Scratch()
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.Command(self), dir: dir, answers: make(chan string), stderr: &strings.Builder{}}
	w.cmd.Env = append(os.Environ(), workerEnv+"="+dir, "GOGC=400")
	w.cmd.Stderr = w.stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			w.answers <- lines.Text()
		}
		close(w.answers)
	}()
	return w, w.cmd.Start()
}

// try tries a case in the worker. A worker that died or hangs has failed the case and
// is of no more use.
func (w *worker) try(c Case) (hit bool, failure string, alive bool) {
	if _, err := fmt.Fprintln(w.in, c); err != nil {
		return true, "the process is gone: " + w.end(), false
	}
	select {
	case answer, ok := <-w.answers:
		if !ok {
			return true, "the process died: " + w.end(), false
		}
		word, why, _ := strings.Cut(answer, " ")
		if word == "failed" {
			if text, err := strconv.Unquote(why); err == nil {
				why = text
			}
			return true, why, true
		}
		return word == "ok", "", true
	case <-time.After(longestCase):
		return true, fmt.Sprintf("it hangs for %v: %s", longestCase, w.end()), false
	}
}

// end ends the worker and returns what it said on standard error.
func (w *worker) end() string {
	_ = w.in.Close()
	_ = w.cmd.Process.Kill()
	for range w.answers { // nobody waits for them any more
	}
	_ = w.cmd.Wait()
	_ = os.RemoveAll(w.dir)
	return w.stderr.String()
}

// Work makes this process a worker if workerEnv says so, and does not return then.
// Call it first in TestMain.
func Work() {
	dir := os.Getenv(workerEnv)
	if dir == "" {
		return
	}
	// When who asks is gone, there is still the lab to remove.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGINT, syscall.SIGTERM)
	defer os.Exit(0)
	defer os.RemoveAll(dir)
	lab, err := NewLab(dir)
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		c, err := ParseCase(lines.Text())
		hit := false
		if err == nil {
			hit, err = lab.Try(c)
		}
		switch {
		case err != nil:
			fmt.Println("failed", strconv.Quote(err.Error()))
		case hit:
			fmt.Println("ok")
		default:
			fmt.Println("spared")
		}
	}
}

// Scratch makes a folder for a lab, in memory where that is to be had: what a power cut
// leaves is computed, not waited for.
func Scratch() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "pipe-faults-"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "pipe-faults-")
}
