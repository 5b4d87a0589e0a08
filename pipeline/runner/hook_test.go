package runner

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pipe/pipeline"
)

func TestHooksByExitCode(t *testing.T) {
	h := pipeline.Hooks{OnSuccess: []string{"well"}, OnFailure: []string{"badly"}}
	for exit, want := range map[int]string{0: "well", 1: "badly", 2: "", 3: "badly", 5: "badly", 75: "", 130: ""} {
		got := ""
		if _, argv := hookFor(h, exit); argv != nil {
			got = argv[0]
		}
		if got != want {
			t.Errorf("exit %d: got %q, want %q", exit, got, want)
		}
	}
}

func TestHookReadsTheSummaryInTheFilesFolder(t *testing.T) {
	dir := t.TempDir()
	plan := &pipeline.Plan{Name: "p", Profile: "night", File: filepath.Join(dir, "p.yaml"),
		Hooks: pipeline.Hooks{OnFailure: []string{"./tell.sh", "a b", "$HOME;'"}}}
	script := "#!/bin/sh\ncat >got.json\nprintf '%s\\n' \"$@\" >args\n"
	if err := os.WriteFile(filepath.Join(dir, "tell.sh"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	sum := Summary{Type: "summary", Run: "r1", Exit: 1, Stages: []StageResult{{Stage: "a", Outcome: Failed}}, Published: []Published{}}
	if err := (&Runner{Plan: plan, Dir: "/work dir"}).RunHook(context.Background(), sum); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(filepath.Join(dir, "got.json"))
	var got hookInput
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if got.Type != "summary" || got.Run != "r1" || got.Exit != 1 || got.Pipeline != "p" || got.Profile != "night" || got.File != plan.File || got.Dir != "/work dir" || len(got.Stages) != 1 {
		t.Errorf("got %s", b)
	}
	if args, _ := os.ReadFile(filepath.Join(dir, "args")); string(args) != "a b\n$HOME;'\n" {
		t.Errorf("arguments: %q", args)
	}
}

func TestHooksThatFail(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want string
	}{
		{[]string{"sh", "-c", "echo one; echo two >&2; exit 7"}, "on_failure: sh: exit status 7: two"},
		{[]string{"no-such-program-here"}, "there is no such program on PATH"},
		{[]string{"./nosuch"}, "on_failure: ./nosuch: "},
		{[]string{"sh", "-c", "sleep 60 & wait"}, "did not end within 200ms"},
	} {
		plan := &pipeline.Plan{File: filepath.Join(t.TempDir(), "p.yaml"), Hooks: pipeline.Hooks{OnFailure: c.argv}}
		started := time.Now()
		err := (&Runner{Plan: plan}).runHook(context.Background(), Summary{Exit: 5}, 200*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %s", c.argv, err, c.want)
		}
		if time.Since(started) > 20*time.Second {
			t.Errorf("%v: took %s", c.argv, time.Since(started))
		}
	}
}

func TestHookThatLeavesAChildHasSucceeded(t *testing.T) {
	plan := &pipeline.Plan{File: filepath.Join(t.TempDir(), "p.yaml"), Hooks: pipeline.Hooks{OnSuccess: []string{"sh", "-c", "sleep 60 &"}}}
	if err := (&Runner{Plan: plan}).RunHook(context.Background(), Summary{}); err != nil {
		t.Error(err)
	}
}

func TestStopEndsAHook(t *testing.T) {
	stop := make(chan struct{})
	plan := &pipeline.Plan{File: filepath.Join(t.TempDir(), "p.yaml"), Hooks: pipeline.Hooks{OnSuccess: []string{"sleep", "60"}}}
	time.AfterFunc(100*time.Millisecond, func() { close(stop) })
	err := (&Runner{Plan: plan, Stop: stop}).runHook(context.Background(), Summary{}, 20*time.Second)
	if err == nil || err.Error() != "on_success: sleep: it was stopped" {
		t.Errorf("got %v", err)
	}
}

func TestNoHookTellsASecret(t *testing.T) {
	const token = "tok-0123456789"
	dir := t.TempDir()
	plan := &pipeline.Plan{File: filepath.Join(dir, "p.yaml"), Steps: []*pipeline.Step{{Secrets: []pipeline.Variable{{Name: "TOKEN"}}}},
		Hooks: pipeline.Hooks{OnFailure: []string{"sh", "-c", "cat >got; echo no mail with " + token + "; exit 1"}}}
	r := &Runner{Plan: plan, LookupEnv: func(string) (string, bool) { return token, true }}
	err := r.RunHook(context.Background(), Summary{Exit: 1, Error: "no " + token})
	if err == nil || err.Error() != "on_failure: sh: exit status 1: no mail with ***" {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "got")); !strings.Contains(string(b), "no ***") || strings.Contains(string(b), token) {
		t.Errorf("it read %s", b)
	}
}
