//go:build unix

package procgroup

import (
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// Group is the process group that a program heads.
type Group struct {
	program *exec.Cmd
	grace   time.Duration
	asked   atomic.Pointer[time.Time] // when it was last asked to end: by whoever calls Cancel
}

// New puts a program that has not been started at the head of a group. grace is how long the
// group has between a request to end, which is the program's Cancel, and its death. The
// program is to be started and waited for with the goroutine locked to its thread: the kernel ends the program when the
// thread that started it ends.
func New(cmd *exec.Cmd, grace time.Duration) *Group {
	theWatchdog.prepare() // a program must not live before it does
	g := &Group{program: cmd, grace: grace}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
	cmd.Cancel = func() error {
		now := time.Now()
		g.asked.Store(&now)
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	return g
}

// Watch puts the group, once the program runs, under the watchdog's eyes.
func (g *Group) Watch() { theWatchdog.begin(g.program.Process.Pid) }

// Kill ends the group, which Watch was told of, at once.
func (g *Group) Kill() { _ = syscall.Kill(-g.program.Process.Pid, syscall.SIGKILL) }

// pollPause is how often a group that was asked to end is looked at.
const pollPause = 50 * time.Millisecond

// End ends what the program, which has ended or could not be started, left running, and says whether
// there was anything. After a request to end the others of the group have what is
// left of their grace.
func (g *Group) End() bool {
	left := false
	if p := g.program.Process; p != nil {
		for asked := g.asked.Load(); asked != nil && time.Since(*asked) < g.grace && alive(p.Pid); {
			time.Sleep(pollPause)
		}
		left = alive(p.Pid)
		_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // fails if nobody is left
		theWatchdog.end(p.Pid)
	}
	return left
}
