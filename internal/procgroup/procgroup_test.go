//go:build unix

package procgroup

import (
	"os/exec"
	"sync"
	"testing"
	"time"
)

// TestSeveralMayAskAGroupToEnd: a run's stop and its context may, at once.
func TestSeveralMayAskAGroupToEnd(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 60 & wait")
	g := New(cmd, time.Minute)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.Watch()
	var asked sync.WaitGroup
	for range 4 {
		asked.Go(func() { _ = cmd.Cancel() })
	}
	asked.Wait()
	started := time.Now()
	if err := cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
	if g.End() || time.Since(started) > 20*time.Second {
		t.Errorf("it ended after %s, and left others", time.Since(started))
	}
}
