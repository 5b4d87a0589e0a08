//go:build unix

package command

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// group is the process group that a program heads: it and what it starts, unless
// that leaves the group (setsid, as daemons do). It ends as one.
type group struct {
	program *exec.Cmd
	asked   time.Time // when it was asked to end
}

// newGroup puts a program that has not been started at the head of a group.
func newGroup(cmd *exec.Cmd) *group {
	g := &group{program: cmd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
	cmd.Cancel = func() error {
		g.asked = time.Now()
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	return g
}

// watch puts the group, once the program runs, under the watchdog's eyes.
func (g *group) watch() { theWatchdog.begin(g.program.Process.Pid) }

// pollPause is how often a group that was asked to end is looked at.
const pollPause = 50 * time.Millisecond

// end ends what the program, which has ended, left running, and says whether there
// was anything. After a cancelled ctx the others of the group have what is left of
// their grace.
func (g *group) end(ctx context.Context) bool {
	left := false
	if p := g.program.Process; p != nil {
		for !g.asked.IsZero() && time.Since(g.asked) < grace && alive(p.Pid) {
			time.Sleep(pollPause)
		}
		left = alive(p.Pid)
		_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // fails if nobody is left
		theWatchdog.end(p.Pid)
	}
	return left
}
