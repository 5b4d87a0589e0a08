//go:build unix

package command

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// group is the process group that a program heads: it and what it starts, unless
// that leaves the group (setsid, as daemons do). It ends as one.
type group struct {
	program *exec.Cmd
	asked   time.Time // when it was asked to end

	watchdog *exec.Cmd
	leash    io.WriteCloser // as long as it is open, pipe lives
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
	g.startWatchdog()
	return g
}

// watchdog waits, in a group of its own, for pipe to say that the program's group has
// ended. If pipe dies first, however it dies, its end of the leash closes, and the watchdog ends the
// group. The first line names the group.
const watchdog = `trap '' HUP INT TERM; read -r group || exit 0; read -r ended || kill -s KILL -- "-$group"`

// startWatchdog does what it can: without a shell there is no watchdog, and the
// kernel ends the program alone.
func (g *group) startWatchdog() {
	reader, writer, err := os.Pipe()
	if err != nil {
		return
	}
	defer reader.Close()
	g.watchdog = &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", watchdog}, Env: []string{}, Dir: "/",
		Stdin: reader, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	if g.watchdog.Start() != nil {
		writer.Close()
		g.watchdog = nil
		return
	}
	g.leash = writer
}

// watch tells the watchdog of the group, once the program runs.
func (g *group) watch() { g.tell(strconv.Itoa(g.program.Process.Pid)) }

func (g *group) tell(line string) {
	if g.watchdog != nil {
		_, _ = io.WriteString(g.leash, line+"\n") // a watchdog that was killed misses nothing
	}
}

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
		g.tell("ended")
	}
	if g.watchdog != nil {
		g.leash.Close()
		_ = g.watchdog.Wait() // its end is all that matters
	}
	return left
}
