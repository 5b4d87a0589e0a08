package cache

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRegisterRunAloneOrBesideOthers(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	register := func(name string, alone bool) (func(), string) {
		end, busy, err := s.RegisterRun(context.Background(), name, alone)
		if err != nil {
			t.Fatal(err)
		}
		return end, busy
	}
	endFirst, busy := register("a", false)
	if busy != "" {
		t.Fatalf("busy in an empty store: %s", busy)
	}
	endSecond, busy := register("a", false)
	if busy != "" {
		t.Fatalf("busy, and did not ask: %s", busy)
	}
	for range 2 {
		if _, busy := register("a", true); !strings.HasPrefix(busy, "pid ") || !strings.Contains(busy, " since ") {
			t.Fatalf("alone beside others: %q", busy)
		}
		if endFirst != nil {
			endFirst() // the second one still lives
			endFirst = nil
		}
	}
	endOther, busy := register("b", true)
	if busy != "" {
		t.Fatalf("another name is busy: %s", busy)
	}
	endOther()
	endSecond()
	end, busy := register("a", true)
	if busy != "" {
		t.Fatalf("busy after all have ended: %s", busy)
	}
	end()
}

// TestMain lets the test binary play a run that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PIPE_TEST_HOLDER"); dir != "" {
		s, err := Open(dir)
		if err == nil {
			_, _, err = s.RegisterRun(context.Background(), "a", true)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "held"), nil, 0o666)
		}
		if err != nil {
			os.Exit(1)
		}
		time.Sleep(time.Minute)
		return
	}
	os.Exit(m.Run())
}

// TestKilledRunsLeaveNothing: kill -9 of the holder, again and again.
func TestKilledRunsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(dir, "held")
	for range 20 {
		os.Remove(held)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PIPE_TEST_HOLDER="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
			if _, err := os.Stat(held); err == nil {
				break
			}
		}
		if _, busy, _ := s.RegisterRun(context.Background(), "a", true); busy == "" {
			t.Error("not busy while the holder lives")
		}
		cmd.Process.Kill()
		cmd.Wait()
		end, busy, err := s.RegisterRun(context.Background(), "a", true)
		if busy != "" || err != nil {
			t.Fatalf("after kill -9 of the holder: %q, %v", busy, err)
		}
		end()
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "locks", "*", "run-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
