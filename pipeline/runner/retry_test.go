package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pipe/cache"
	"pipe/internal/problem"
	"pipe/stages"
)

func TestOnlyFailuresOfTheStageItselfAreTriedAgain(t *testing.T) {
	fails := func(err error) func(context.Context, *stages.Env, int, string, string) error {
		return func(context.Context, *stages.Env, int, string, string) error { return err }
	}
	for name, c := range map[string]struct {
		do   func(context.Context, *stages.Env, int, string, string) error
		runs int
	}{
		"its error":      {fails(errors.New("no luck")), 3},
		"a panic":        {func(context.Context, *stages.Env, int, string, string) error { panic("oh") }, 3},
		"no output":      {fails(nil), 3},
		"its timeout":    {func(ctx context.Context, _ *stages.Env, _ int, _, _ string) error { <-ctx.Done(); return ctx.Err() }, 3},
		"a bad file":     {fails(problem.List{problem.At("x.jsonl", 1, 2, "no JSON")}), 1},
		"a full disk":    {fails(fmt.Errorf("write: %w", syscall.ENOSPC)), 1},
		"no such device": {fails(fmt.Errorf("no: %w", stages.ErrDevice)), 1},
	} {
		b := newBench(t)
		b.does["fail"] = c.do
		rec := b.run("pipeline: p\nstages:\n  a: { uses: do, with: { do: fail }, timeout: 50ms, retries: { max: 2, backoff: 1ms } }\n", nil)
		if b.ran["fail"] != c.runs || rec.outcomes() != "a=failed" {
			t.Errorf("%s: %s after %d attempts, want %d", name, rec.outcomes(), b.ran["fail"], c.runs)
		}
		if got := len(ofType(rec, "retry")); got != c.runs-1 {
			t.Errorf("%s: %d retry events", name, got)
		}
	}
}

func ofType(rec *recorder, name string) []Event {
	var events []Event
	for _, e := range rec.events {
		if e.Type == name {
			events = append(events, e)
		}
	}
	return events
}

func TestEachAttemptIsFreshAndTheLastOneCounts(t *testing.T) {
	b := newBench(t)
	var folders []string
	b.does["third"] = func(_ context.Context, env *stages.Env, _ int, _, out string) error {
		folders = append(folders, env.Out)
		n := len(folders)
		env.Log.Info("attempt", "n", n)
		env.Withhold(fmt.Sprint("reason ", n))
		if _, err := os.Stat(out); err == nil {
			return errors.New("the output of the attempt before is there")
		}
		os.WriteFile(out, fmt.Append(nil, n), 0o666)
		f, err := env.Attach(fmt.Sprint("a", n))
		if err != nil {
			return err
		}
		f.Close()
		if n < 3 {
			return fmt.Errorf("failure %d", n)
		}
		return nil
	}
	text := "pipeline: p\nstages:\n  a: { uses: do, with: { do: third }, retries: { max: 5, backoff: 1ms } }\n"
	rec := b.run(text, nil)
	retries := ofType(rec, "retry")
	if len(retries) != 2 || retries[1].Attempt != 3 || retries[1].Attempts != 6 || retries[1].Why != "failure 2" {
		t.Fatalf("got %+v", retries)
	}
	end := ofType(rec, "stage_end")[0]
	if end.Attempt != 3 || end.Outcome != Ran || end.Withheld != "reason 3" {
		t.Errorf("got %+v", end)
	}
	if folders[0] == folders[1] || folders[1] == folders[2] {
		t.Errorf("attempts share a folder: %v", folders)
	}
	for _, dir := range folders {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left behind", dir)
		}
	}
	var key cache.Key
	if err := key.UnmarshalText([]byte(end.Key)); err != nil {
		t.Fatal(err)
	}
	record, err := b.store.ReadRecord(key)
	if err != nil || len(record.Attachments) != 1 {
		t.Errorf("record %+v, %v", record, err)
	}
	again := b.run(text, nil)
	if logs := ofType(again, "log"); len(logs) != 1 || fmt.Sprint(logs[0].Fields[0].Value) != "3" {
		t.Errorf("replayed %+v", logs)
	}
}

func TestTextOfTheLastFailureStays(t *testing.T) {
	b := newBench(t)
	n := 0
	b.does["fail"] = func(_ context.Context, env *stages.Env, _ int, _, _ string) error {
		n++
		return fmt.Errorf("failure %d at %s", n, env.Out)
	}
	rec := b.run("pipeline: p\nstages:\n  a: { uses: do, with: { do: fail }, retries: { max: 1, backoff: 0 } }\n", nil)
	if got := ofType(rec, "stage_end")[0].Error; got != "failure 2 at out" {
		t.Errorf("got %q", got)
	}
}

func TestInterruptEndsThePauseBetweenAttempts(t *testing.T) {
	b := newBench(t)
	b.does["fail"] = func(context.Context, *stages.Env, int, string, string) error { return errors.New("no") }
	ctx, cancel := context.WithCancel(context.Background())
	r, rec := b.runner("pipeline: p\nstages:\n  a: { uses: do, with: { do: fail }, retries: { max: 3, backoff: 10m } }\n", nil)
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if rec.outcomes() != "a=interrupted" || b.ran["fail"] != 1 {
		t.Errorf("got %s after %d attempts", rec.outcomes(), b.ran["fail"])
	}
}

func TestBackoffDoublesAndDependsOnKeyAndAttemptAlone(t *testing.T) {
	key, other := cache.Key{1}, cache.Key{2}
	for n, most := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 50: longestBackoff} {
		got := backoff(key, 10*time.Second, n)
		if got > most || got < most/2 || got != backoff(key, 10*time.Second, n) {
			t.Errorf("attempt %d: %v, want %v to %v", n, got, most/2, most)
		}
		if got == backoff(other, 10*time.Second, n) {
			t.Errorf("attempt %d: stages of other keys come back together", n)
		}
	}
	if got := backoff(key, 0, 5); got != 0 {
		t.Errorf("no back-off: %v", got)
	}
}

func TestKeysDoNotHoldRetriesAndTimeouts(t *testing.T) {
	b := newBench(t)
	b.run(chain, nil)
	rec := b.run(strings.ReplaceAll(chain, "uses: do,", "uses: do, timeout: 1h, retries: 7,"), nil)
	if rec.outcomes() != "a=cached b=cached" {
		t.Errorf("got %s", rec.outcomes())
	}
}

func TestSecretsAreNotInWhatAStageSaysByItself(t *testing.T) {
	b := newBench(t)
	// A secret of one stage is hidden in what every stage of the run says.
	b.does["tell"] = func(_ context.Context, env *stages.Env, _ int, _, out string) error {
		env.Log.Info("the secret is hunter2hunter2", "hunter2hunter2", 12345678, "list", []string{"x hunter2hunter2"})
		env.Log.Warn("h", "err", errors.New("no hunter2hunter2"))
		env.Progress(stages.Progress{Done: 1, Total: 1, Text: "hunter2hunter2"})
		env.Withhold("hunter2hunter2 is bad")
		env.Note("stopped_by", "hunter2hunter2")
		f, err := env.Attach("summary.txt")
		if err != nil {
			return err
		}
		fmt.Fprint(f, "hunter2")
		fmt.Fprint(f, "hunter2")
		if err := f.Close(); err != nil {
			return err
		}
		if env.Mask == nil {
			return errors.New("there is no mask")
		}
		return os.WriteFile(out, nil, 0o666)
	}
	b.does["fail"] = func(context.Context, *stages.Env, int, string, string) error { panic("with hunter2hunter2") }
	text := "pipeline: p\nstages:\n  a: { uses: do, with: { do: tell } }\n  b: { uses: do, with: { do: fail }, retries: { max: 1, backoff: 0 } }\n" +
		"  s: { uses: free, out: [x], secrets: [TOKEN, NUMBER] }\n"
	r, rec := b.runner(text, func(r *Runner) {
		r.LookupEnv = func(name string) (string, bool) {
			return map[string]string{"TOKEN": "hunter2hunter2", "NUMBER": "12345678"}[name], true
		}
	})
	if _, err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if rec.outcomes() != "a=ran b=failed s=ran" {
		t.Errorf("got %s", rec.outcomes())
	}
	said := fmt.Sprintf("%+v %+v %+v %q", rec.events, rec.summary, *r.Record("a"), r.Summaries())
	for _, secret := range []string{"hunter2hunter2", "12345678"} {
		if strings.Contains(said, secret) {
			t.Errorf("%s is in %s", secret, said)
		}
	}
	if strings.Count(said, "***") < 10 {
		t.Errorf("hidden %d times only", strings.Count(said, "***"))
	}
	files, _ := filepath.Glob(filepath.Join(b.store.Dir(), "*", "*", "*"))
	runs, _ := filepath.Glob(filepath.Join(b.store.Dir(), "runs", "*"))
	for _, file := range append(files, runs...) {
		text, _ := os.ReadFile(file)
		if plain, err := cache.Decompress(text); err == nil {
			text = plain
		}
		if strings.Contains(string(text), "hunter2hunter2") || strings.Contains(string(text), "12345678") {
			t.Errorf("it is in %s", file)
		}
	}
}

func TestLeaksAreFoundAcrossChunks(t *testing.T) {
	dir := t.TempDir()
	a := &attempt{dir: dir, task: task{world: environment{secrets: map[string]string{"LONG": strings.Repeat("ab", 40), "TOKEN": "hunter2hunter2"}}}}
	for _, at := range []int{0, 1, scanChunk - 7, scanChunk, scanChunk + 72, 2*scanChunk - 3, 3*scanChunk + 5} {
		path := filepath.Join(dir, "f")
		text := strings.Repeat("x", at) + "hunter2hunter2" + strings.Repeat("y", 1000)
		os.WriteFile(path, []byte(text), 0o666)
		want := fmt.Sprintf(`output "o" holds the value of the secret TOKEN (sub/f, byte %d); nothing of it is kept`, at)
		if err := a.findLeak(context.Background(), "o", path, "sub/f"); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		os.WriteFile(path, []byte(strings.Replace(text, "2h", "2-h", 1)), 0o666)
		if err := a.findLeak(context.Background(), "o", path, "sub/f"); err != nil {
			t.Error(err)
		}
	}
}
