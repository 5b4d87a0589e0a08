//go:build unix

package procgroup

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// watchdog ends the groups of programs if pipe dies, however it dies. It is a shell in a
// group of its own that is told of each group, and reads from a pipe of which nobody else
// holds the other end: when pipe dies it closes, and what groups are left are ended.
// There is one for the life of the process: starting one costs as much as a small program.
type watchdog struct {
	mu     sync.Mutex // guards what follows
	groups map[int]bool
	leash  *os.File // nil if there is no watchdog yet, or none to be had
}

var theWatchdog = watchdog{groups: map[int]bool{}}

const watchdogScript = `trap '' HUP INT TERM
groups=
while read -r change group; do
	case $change in
	+) groups="$groups $group" ;;
	-) others=; for g in $groups; do [ "$g" = "$group" ] || others="$others $g"; done; groups=$others ;;
	esac
done
for g in $groups; do kill -s KILL -- "-$g"; done`

func (w *watchdog) prepare() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leash == nil {
		w.start()
	}
}

// begin and end tell of a group.
func (w *watchdog) begin(group int) { w.tell(group, true) }
func (w *watchdog) end(group int)   { w.tell(group, false) }

func (w *watchdog) tell(group int, lives bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sign := "+"
	if lives {
		w.groups[group] = true
	} else {
		delete(w.groups, group)
		sign = "-"
	}
	if w.leash != nil {
		_ = w.leash.SetWriteDeadline(time.Now().Add(time.Second)) // it may have been stopped
		if _, err := fmt.Fprintln(w.leash, sign, group); err == nil {
			return
		}
		w.leash.Close() // or killed: there is a new one for the groups that live
		w.leash = nil
	}
	if len(w.groups) > 0 {
		w.start()
	}
}

// start does what it can: without a shell there is no watchdog, and the kernel ends
// programs alone.
func (w *watchdog) start() {
	reader, writer, err := os.Pipe()
	if err != nil {
		return
	}
	defer reader.Close()
	shell := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", watchdogScript}, Env: []string{}, Dir: "/",
		Stdin: reader, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	if shell.Start() != nil {
		writer.Close()
		return
	}
	go shell.Wait() // its end says nothing
	w.leash = writer
	for group := range w.groups {
		_, _ = fmt.Fprintln(w.leash, "+", group) // if it is gone already, the next word starts another
	}
}
