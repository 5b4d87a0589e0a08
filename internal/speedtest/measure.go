package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// cost is what one execution cost.
type cost struct {
	wall, cpu time.Duration // cpu is user and system time, with that of ended children
	peak      int64         // resident memory of the process itself, bytes; 0 if it is below the benchmark's own and cannot be told
	read      int64         // bytes that it asked the system for, of files or anything else
}

// row is a contestant's costs in a workload, a round each.
type row struct {
	name  string
	runs  []cost
	notes string
}

// slow is when a contestant is measured once and no more.
const slow = 20 * time.Second

// measure prepares a workload and runs the contestants in turns.
func (b *bench) measure(w workload) ([]row, error) {
	dir := filepath.Join(b.dir, w.name)
	if err := os.MkdirAll(filepath.Join(dir, "made"), 0o777); err != nil {
		return nil, err
	}
	jobs, err := w.make(dir)
	if err != nil {
		return nil, err
	}
	field := b.available(len(jobs), w.files)
	if w.pipeOnly {
		field = field[:1]
	}
	var rows []row
	for _, c := range field {
		r := row{name: c.name}
		if !w.cold {
			own, err := b.lay(dir, c.name, c, w, jobs)
			if err != nil {
				return nil, err
			}
			if w.write != nil && exec.Command(b.pipe, "check", filepath.Join(own, "pipe.yaml")).Run() != nil {
				return nil, nil
			}
			first, err := b.execute(own, c, w)
			if err != nil {
				return nil, err
			}
			r.notes = fmt.Sprintf("first run %s", show(first.wall))
		}
		rows = append(rows, r)
	}
	if w.cold && len(jobs) > 0 {
		rows = append(rows, row{name: alone})
	}
	for round := range b.rounds {
		for i := range rows {
			r := &rows[i]
			if len(r.runs) > 0 && (r.runs[0].wall > slow || w.once) {
				continue
			}
			if r.name == alone {
				r.runs = append(r.runs, startAlone(filepath.Join(dir, fmt.Sprintf("alone-%d", round)), jobs, w.jobs()))
				continue
			}
			own, err := b.ready(dir, field[i], w, jobs, round)
			if err != nil {
				return nil, err
			}
			spent, err := b.execute(own, field[i], w)
			if err != nil {
				return nil, err
			}
			r.runs = append(r.runs, spent)
		}
	}
	if w.cold {
		return rows, sweep(dir)
	}
	return rows, nil
}

// lay makes a folder for a contestant, with the jobs in its language and links to what
// they read: contestants share no output.
func (b *bench) lay(dir, name string, c contestant, w workload, jobs []job) (own string, err error) {
	own = filepath.Join(dir, name)
	if err := link(dir, own); err != nil {
		return "", err
	}
	write := c.write
	if c.name == "pipe" && w.write != nil {
		write = w.write
	}
	if err := write(own, jobs); err != nil {
		return "", fmt.Errorf("%s: %w", c.name, err)
	}
	return own, nil
}

// link makes a folder with links to the inputs.
func link(dir, own string) error {
	if err := os.MkdirAll(filepath.Join(own, "made"), 0o777); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "in") {
			continue
		}
		if err := os.Symlink(filepath.Join("..", e.Name()), filepath.Join(own, e.Name())); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// ready returns the folder of a contestant's next round, with everything done in it that
// must be: nothing, an edit, or what makes a cold start. A cold start has a new folder. To
// remove the last round's would be unfair: ext4 searches long for an inode when many
// were removed within the last minute.
func (b *bench) ready(dir string, c contestant, w workload, jobs []job, round int) (own string, err error) {
	switch {
	case w.edit != nil:
		return filepath.Join(dir, c.name), w.edit(dir, round)
	case !w.cold:
		return filepath.Join(dir, c.name), nil
	}
	own, err = b.lay(dir, fmt.Sprintf("%s-%d", c.name, round), c, w, jobs)
	syscall.Sync() // the last contestant's dirty pages are not this one's
	return own, err
}

// sweep removes the folders of cold rounds.
func sweep(dir string) error {
	used, err := filepath.Glob(filepath.Join(dir, "*-[0-9]*"))
	for _, own := range used {
		err = errors.Join(err, os.RemoveAll(own))
	}
	return err
}

// execute runs a contestant to its end.
func (b *bench) execute(own string, c contestant, w workload) (cost, error) {
	argv := c.command(b, w.jobs())
	cmd := exec.Command(argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stderr = own, &said
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, err
	}
	read := bytesRead(cmd.Process.Pid)
	err := cmd.Wait()
	spent := cost{wall: time.Since(started), read: read}
	if err != nil {
		text := said.String()
		return spent, fmt.Errorf("%s: %w\n%s", c.name, err, text[:min(len(text), 2000)])
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	spent.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	// A process inherits the peak of the one that started it.
	var self syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self); usage.Maxrss > self.Maxrss {
		spent.peak = usage.Maxrss << 10
	}
	return spent, nil
}

// bytesRead waits until a process has ended, without burying it, and returns what it
// had read. A zombie still tells.
func bytesRead(pid int) int64 {
	const all, exited, noWait = 1, 4, 0x1000000 // P_PID, WEXITED, WNOWAIT of <sys/wait.h>
	var info [128]byte
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, all, uintptr(pid), uintptr(pointer(&info)), exited|noWait, 0, 0)
		if errno != syscall.EINTR {
			break
		}
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "rchar: "); ok {
			read, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return read
		}
	}
	return 0
}

// startAlone runs the jobs' scripts as they are, some at a time.
func startAlone(own string, jobs []job, workers int) cost {
	os.MkdirAll(filepath.Join(own, "made"), 0o777)
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_CHILDREN, &before)
	started := time.Now()
	next := make(chan job)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for j := range next {
				cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(j.script, j.output()))
				cmd.Dir = own
				cmd.Run()
			}
		})
	}
	for _, j := range jobs {
		next <- j
	}
	close(next)
	all.Wait()
	wall := time.Since(started)
	syscall.Getrusage(syscall.RUSAGE_CHILDREN, &after)
	return cost{wall: wall, cpu: time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())}
}

// median of what is taken of each run.
func median[T int64 | float64 | time.Duration](runs []cost, of func(c cost) T) T {
	values := make([]T, len(runs))
	for i, c := range runs {
		values[i] = of(c)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func wallOf(c cost) time.Duration { return c.wall }
func cpuOf(c cost) time.Duration  { return c.cpu }
func peakOf(c cost) int64         { return c.peak }
func readOf(c cost) int64         { return c.read }
