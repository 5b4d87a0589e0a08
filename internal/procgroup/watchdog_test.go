//go:build unix

package procgroup

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A watchdog that was killed is replaced, and the new one knows the groups that live.
func TestWatchdogIsReplaced(t *testing.T) {
	w := watchdog{groups: map[int]bool{}}
	sleeper := func() *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	first, second, ended := sleeper(), sleeper(), sleeper()
	w.begin(first.Process.Pid)
	w.leash.Close() // to the watchdog pipe is dead; to pipe the watchdog is
	first.Wait()
	w.end(first.Process.Pid)
	w.begin(second.Process.Pid)
	w.begin(ended.Process.Pid)
	w.end(ended.Process.Pid)
	w.leash.Close()
	done := make(chan error, 1)
	go func() { done <- second.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the group that lived was not ended")
		second.Process.Kill()
	}
	if err := ended.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a group that had ended was ended again: %v", err)
	}
	ended.Process.Kill()
	ended.Wait()
}
