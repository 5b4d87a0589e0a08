//go:build unix

package procgroup

import (
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Group is the process group that a program heads.
type Group struct {
	program *exec.Cmd
	grace   time.Duration
	asked   atomic.Pointer[time.Time] // when it was last asked to end: by whoever calls Cancel

	watchdog *exec.Cmd
	leash    io.WriteCloser // as long as it is open, pipe lives
}

// New puts a program that has not been started at the head of a group. grace is how long the
// group has between a request to end, which is the program's Cancel, and its death. The
// program is to be started and waited for with the goroutine locked to its thread: the kernel ends the program when the
// thread that started it ends.
func New(cmd *exec.Cmd, grace time.Duration) *Group {
	g := &Group{program: cmd, grace: grace}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
	cmd.Cancel = func() error {
		now := time.Now()
		g.asked.Store(&now)
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
func (g *Group) startWatchdog() {
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

// Watch tells the watchdog of the group, once the program runs.
func (g *Group) Watch() { g.tell(strconv.Itoa(g.program.Process.Pid)) }

func (g *Group) tell(line string) {
	if g.watchdog != nil {
		_, _ = io.WriteString(g.leash, line+"\n") // a watchdog that was killed misses nothing
	}
}

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
		g.tell("ended")
	}
	if g.watchdog != nil {
		g.leash.Close()
		_ = g.watchdog.Wait() // its end is all that matters
	}
	return left
}
