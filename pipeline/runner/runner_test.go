package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pipe/cache"
	"pipe/pipeline"
	"pipe/pipeline/source"
	"pipe/stages"
)

// recorder keeps a run's events.
type recorder struct {
	mu      sync.Mutex
	events  []Event
	summary Summary
}

func (r *recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) Summary(s Summary) { r.summary = s }

func (r *recorder) outcomes() string {
	var parts []string
	for _, s := range r.summary.Stages {
		parts = append(parts, s.Stage+"="+string(s.Outcome))
	}
	return strings.Join(parts, " ")
}

// bench runs pipelines of kinds made of functions.
type bench struct {
	t     *testing.T
	store *cache.Store
	dir   string
	does  map[string]func(ctx context.Context, env *stages.Env, level int, in, out string) error
	ran   map[string]int
	mu    sync.Mutex
}

type benchParams struct {
	Do    string `yaml:"do" required:"true" help:"what the stage does"`
	Level int    `yaml:"level" default:"0" help:"a number"`
}

func newBench(t *testing.T) *bench {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: store, dir: t.TempDir(), ran: map[string]int{}, does: map[string]func(context.Context, *stages.Env, int, string, string) error{}}
	b.does["copy"] = func(_ context.Context, _ *stages.Env, level int, in, out string) error {
		text := []byte("nothing")
		if in != "" {
			var err error
			if text, err = os.ReadFile(in); err != nil {
				return err
			}
		}
		return os.WriteFile(out, fmt.Appendf(text, "%d", level), 0o666)
	}
	return b
}

func (b *bench) kinds() *stages.Registry {
	type in struct {
		In    stages.Input `port:"in" optional:"true" help:"what is read"`
		Other stages.Input `port:"other" optional:"true" help:"what is read too"`
	}
	type out struct {
		Out  string `port:"out" type:"file" help:"what is made"`
		Rare string `port:"rare" type:"file" optional:"true" help:"what is seldom made"`
	}
	return stages.NewRegistry(stages.Define("do", "1", "Does.", func(ctx context.Context, env *stages.Env, p benchParams, i in, o out) error {
		b.mu.Lock()
		b.ran[p.Do]++
		b.mu.Unlock()
		return b.does[p.Do](ctx, env, p.Level, i.In.Path, o.Out)
	}), stages.DefineOpen("free", "1", "Makes empty files.", func(_ context.Context, _ *stages.Env, _ struct{}, _ map[string]stages.Input, out map[string]string) error {
		for _, path := range out {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (b *bench) runner(text string, change func(r *Runner)) (*Runner, *recorder) {
	b.t.Helper()
	f, err := pipeline.Parse(filepath.Join(b.dir, "p.yaml"), []byte(text))
	if err != nil {
		b.t.Fatal(err)
	}
	plan, err := f.Resolve(b.kinds(), pipeline.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	rec := &recorder{}
	r := &Runner{Plan: plan, Store: b.store, Sources: source.Sources{}, Sink: rec, Machine: pipeline.Resources{CPU: 2}, Dir: b.dir, Now: time.Now}
	if change != nil {
		change(r)
	}
	return r, rec
}

func (b *bench) run(text string, change func(r *Runner)) *recorder {
	b.t.Helper()
	r, rec := b.runner(text, change)
	if _, err := r.Run(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	return rec
}

const chain = `pipeline: p
stages:
  a: { uses: do, with: { do: copy, level: 1 } }
  b: { uses: do, in: { in: "${a.out}" }, with: { do: copy, level: 2 } }
`

func TestReasonsNameWhatMoved(t *testing.T) {
	b := newBench(t)
	b.run(chain, nil)
	for _, c := range []struct{ text, stage, want string }{
		{strings.Replace(chain, "level: 1", "level: 7", 1), "a", "level: 1 → 7"},
		{strings.Replace(chain, ", level: 2", "", 1), "b", "level: 2 → default; a.out has other bytes"},
		{chain, "b", ""},
	} {
		rec := b.run(c.text, nil)
		for _, s := range rec.summary.Stages {
			if s.Stage == c.stage && s.Why != c.want {
				t.Errorf("got %q, want %q", s.Why, c.want)
			}
		}
	}
}

func TestPanicAndErrorFailTheStageAlone(t *testing.T) {
	b := newBench(t)
	b.does["panic"] = func(context.Context, *stages.Env, int, string, string) error { panic("oh") }
	b.does["full"] = func(context.Context, *stages.Env, int, string, string) error {
		return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	}
	b.does["device"] = func(context.Context, *stages.Env, int, string, string) error {
		return fmt.Errorf("no: %w", stages.ErrDevice)
	}
	for do, exit := range map[string]int{"panic": 1, "full": 5, "device": 5} {
		rec := b.run(chain+"  c: { uses: do, with: { do: "+do+" } }\n  d: { uses: do, in: { in: \"${c.out}\" }, with: { do: copy } }\n", nil)
		if !strings.Contains(rec.outcomes(), "c=failed d=skipped") || rec.summary.Exit != exit {
			t.Errorf("%s: got %s, exit %d, want %d", do, rec.outcomes(), rec.summary.Exit, exit)
		}
		if strings.Contains(rec.outcomes(), "a=failed") {
			t.Errorf("%s: %s", do, rec.outcomes())
		}
	}
}

func TestWithheldIsCommittedAndExits3Once(t *testing.T) {
	b := newBench(t)
	b.does["gate"] = func(_ context.Context, env *stages.Env, _ int, _, out string) error {
		env.Withhold("not good enough")
		return os.WriteFile(out, []byte("x"), 0o666)
	}
	text := "pipeline: p\nstages:\n  g: { uses: do, with: { do: gate }, publish: { out: g.txt } }\n"
	first := b.run(text, nil)
	second := b.run(text, nil)
	if first.summary.Exit != 3 || second.summary.Exit != 0 || first.outcomes() != "g=ran" || second.outcomes() != "g=cached" {
		t.Errorf("got exit %d then %d, %s then %s", first.summary.Exit, second.summary.Exit, first.outcomes(), second.outcomes())
	}
	if len(first.summary.Published) != 0 {
		t.Error("published")
	}
	if _, err := os.Stat(filepath.Join(b.dir, "g.txt")); err == nil {
		t.Error("it is at its place")
	}
}

func TestOptionalOutputThatIsAbsentFailsItsReader(t *testing.T) {
	b := newBench(t)
	rec := b.run("pipeline: p\nstages:\n  a: { uses: do, with: { do: copy } }\n  b: { uses: do, in: { in: \"${a.rare}\" }, with: { do: copy } }\n", nil)
	if rec.outcomes() != "a=ran b=failed" || !strings.Contains(rec.summary.Stages[1].Why, `stage "a" made no output "rare"`) {
		t.Errorf("got %s, %s", rec.outcomes(), rec.summary.Stages[1].Why)
	}
}

func TestDamagedInputIsMadeAgain(t *testing.T) {
	b := newBench(t)
	b.run(chain, nil)
	r, _ := b.runner(chain, nil)
	forecasts, err := r.Forecast(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	blob := b.store.BlobPath(forecasts[0].Record.Outputs["out"].Digest)
	// The store looks at the record of a only, and finds the damage when c reads it.
	info, _ := os.Stat(blob)
	os.Chmod(blob, 0o644)
	os.WriteFile(blob, []byte("nothing9"), 0o644)
	os.Chtimes(blob, info.ModTime(), info.ModTime())
	rec := b.run(chain+"  c: { uses: do, in: { in: \"${a.out}\" }, with: { do: copy, level: 3 } }\n", nil)
	if rec.summary.Exit != 0 || !strings.Contains(rec.outcomes(), "a=ran") || !strings.Contains(rec.outcomes(), "c=ran") {
		t.Errorf("got %s", rec.outcomes())
	}
	text, _ := os.ReadFile(b.store.BlobPath(lastOutput(t, rec, "c")))
	if string(text) != "nothing13" {
		t.Errorf("c made %q", text)
	}
}

func lastOutput(t *testing.T, rec *recorder, stage string) (d cache.Digest) {
	t.Helper()
	for _, e := range rec.events {
		if e.Type == "stage_end" && e.Stage == stage {
			d = e.Outputs["out"].Digest
		}
	}
	return d
}

func TestStagesRunAtOnceAsResourcesAllow(t *testing.T) {
	b := newBench(t)
	var now, most int
	b.does["busy"] = func(_ context.Context, _ *stages.Env, level int, _, out string) error {
		b.mu.Lock()
		now++
		most = max(most, now)
		b.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		b.mu.Lock()
		now--
		b.mu.Unlock()
		return os.WriteFile(out, fmt.Append(nil, level), 0o666)
	}
	text := "pipeline: p\nstages:\n"
	for i := range 6 {
		text += fmt.Sprintf("  s%d: { uses: do, with: { do: busy, level: %d } }\n", i, i)
	}
	b.run(text, nil)
	if most != 2 {
		t.Errorf("%d ran at once on 2 processors", most)
	}
	most = 0
	b.run(strings.ReplaceAll(text, "level: ", "level: 1"), func(r *Runner) { r.Jobs = 1 })
	if most != 1 {
		t.Errorf("%d ran at once with one job", most)
	}
	most = 0
	b.run(strings.ReplaceAll(strings.ReplaceAll(text, "level: ", "level: 2"), " } }", " }, resources: { cpu: 64 } }"), nil)
	if most != 1 {
		t.Errorf("%d ran at once that each want all processors", most)
	}
}

func TestRecomputeTellsWhetherBytesAreTheSame(t *testing.T) {
	b := newBench(t)
	n := 0
	b.does["count"] = func(_ context.Context, _ *stages.Env, _ int, _, out string) error {
		n++
		return os.WriteFile(out, fmt.Append(nil, n), 0o666)
	}
	text := "pipeline: p\nstages:\n  a: { uses: do, with: { do: copy } }\n  c: { uses: do, with: { do: count } }\n"
	b.run(text, nil)
	rec := b.run(text, func(r *Runner) { r.Recompute = []string{"a", "c"} })
	said := map[string]string{}
	for _, e := range rec.events {
		if e.Type == "log" {
			said[e.Stage] += e.Message
		}
	}
	if !strings.Contains(said["a"], "the same bytes") || !strings.Contains(said["c"], "other bytes than before") {
		t.Errorf("got %v", said)
	}
	if rec := b.run(text, nil); rec.outcomes() != "a=cached c=cached" {
		t.Errorf("after it: %s", rec.outcomes())
	}
}

func TestInterruptionLeavesNothing(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	b.does["wait"] = func(ctx context.Context, env *stages.Env, _ int, _, out string) error {
		os.WriteFile(out, []byte("half"), 0o666)
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	r, rec := b.runner("pipeline: p\nstages:\n  w: { uses: do, with: { do: wait } }\n  x: { uses: do, in: { in: \"${w.out}\" }, with: { do: copy } }\n", nil)
	if _, err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if rec.summary.Exit != 130 || rec.outcomes() != "w=interrupted x=skipped" {
		t.Errorf("got exit %d, %s", rec.summary.Exit, rec.outcomes())
	}
	left, _ := filepath.Glob(filepath.Join(b.store.Dir(), "attempts", "*"))
	records, _ := filepath.Glob(filepath.Join(b.store.Dir(), "actions", "*", "*"))
	if len(left)+len(records) != 0 {
		t.Errorf("left behind: %v %v", left, records)
	}
}

func TestFieldsThatJSONCannotHoldBecomeText(t *testing.T) {
	fields := fieldsOf([]any{"loss", math.NaN(), "norm", math.Inf(1), "ok", 1.5, "err", errors.New("why"), "odd"})
	want := []any{"NaN", "+Inf", 1.5, "why"}
	for i, f := range fields {
		if f.Value != want[i] {
			t.Errorf("%s: got %v, want %v", f.Name, f.Value, want[i])
		}
	}
}

func TestHistoryOfAKilledRunIsRead(t *testing.T) {
	b := newBench(t)
	b.run(chain, nil)
	path := filepath.Join(b.store.RunsDir(), "99990101T000000.000-000000.jsonl")
	os.WriteFile(path, []byte(`{"event":"run_start","pipeline":"p","profile":"default"}`+"\n"+`{"event":"stage_end","stage":"a","outcome":"ran","key":"k"}`+"\n"+`{"event":"stage_e`), 0o666)
	var first *Past
	if err := EachPast(b.store, func(p *Past) bool { first = p; return false }); err != nil {
		t.Fatal(err)
	}
	if r, ok := first.Result("a"); !ok || r.Key != "k" || first.Summary != nil {
		t.Errorf("got %+v, %v", r, ok)
	}
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte(`{"event":"run_start"}` + "\n" + `{"event":"summary","exit":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, _ := parseHistory("id", b); p != nil {
			p.Result("a")
		}
	})
}

func TestFiguresThatJSONCannotHoldAreLeftOut(t *testing.T) {
	values := []stages.Value{{Name: "loss", Value: math.NaN()}, {Name: "accuracy", Value: 0.5}, {Name: "entropy", Value: math.Inf(1)}}
	e := ProgressEvent("train", stages.Progress{Done: 1, Values: values})
	if _, err := json.Marshal(e); err != nil || len(e.Values) != 1 || e.Values[0].Name != "accuracy" {
		t.Errorf("got %v, %v", e.Values, err)
	}
	if len(values) != 3 || !math.IsNaN(values[0].Value) {
		t.Errorf("the stage's own list was changed: %v", values)
	}
}

// What keeps a check from being made is no verdict on the stage.
func TestCheckOfAKnownResultTellsTheMachinesFaultAsSuch(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		exit int
		want string
	}{
		"its own":   {errors.New("no luck"), 1, "a=cached"},
		"a device":  {fmt.Errorf("gpu: %w", stages.ErrDevice), 5, "a=failed"},
		"full disk": {fmt.Errorf("write: %w", syscall.ENOSPC), 5, "a=failed"},
	} {
		b := newBench(t)
		b.does["turn"] = func(_ context.Context, _ *stages.Env, _ int, _, out string) error {
			if b.ran["turn"] > 1 {
				return c.err
			}
			return os.WriteFile(out, nil, 0o666)
		}
		text := "pipeline: p\nstages:\n  a: { uses: do, with: { do: turn } }\n"
		b.run(text, nil)
		rec := b.run(text, func(r *Runner) { r.CheckCache = true })
		if rec.outcomes() != c.want || rec.summary.Exit != c.exit {
			t.Errorf("%s: got %s and exit %d, want %s and %d", name, rec.outcomes(), rec.summary.Exit, c.want, c.exit)
		}
		if why := rec.summary.Stages[0].Why; strings.Contains(why, "does not run any more") != (c.exit == 1) {
			t.Errorf("%s: why is %q", name, why)
		}
	}
}
