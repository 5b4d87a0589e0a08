//go:build unix

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"pipe/internal/faultfs"
)

// childEnv tells a process that it is to run a toy and die in it: its folder, the
// operation, and "half" or nothing.
const childEnv = "PIPE_FAULT_CHILD"

// Child does what childEnv asks for, if it is set, and does not return then. Call it
// first in TestMain.
func Child() {
	line := os.Getenv(childEnv)
	if line == "" {
		return
	}
	c, err := ParseCase(line)
	if err != nil {
		panic(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	if c.Op > 0 {
		faultfs.Set((&Injector{Fault: Fault{Op: c.Op, Half: c.Half}}).Hook)
	}
	o := Toy{Dir: dir}.Run()
	fmt.Print(o.said())
	os.Exit(o.Exit)
}

func (l *Lab) tryKill(c Case, toy Toy) (bool, error) {
	s, truths, err := l.set(c.Scene, toy)
	if err != nil {
		return false, err
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	cmd := exec.Command(self)
	cmd.Dir = toy.Dir
	cmd.Env = append(os.Environ(), childEnv+"="+c.String())
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return false, err
	}
	if c.Part == "instant" {
		time.Sleep(time.Duration(rand.New(rand.NewPCG(c.Seed, 1)).Int64N(int64(longestInstant))))
		_ = cmd.Process.Kill()
	}
	err = cmd.Wait()
	if err == nil {
		return false, truths.Published(toy)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return false, fmt.Errorf("%w: %s", err, said.String())
	}
	if err := truths.Served(toy, s.least); err != nil {
		return true, err
	}
	return true, recovers(toy, truths)
}

// longestInstant is how long after its start a process is killed at the latest: about
// as long as it takes.
const longestInstant = 80 * time.Millisecond
