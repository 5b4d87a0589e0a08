package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pipe/internal/faultfs"
	"pipe/stages"
)

// random is a pipeline of n stages, each of which reads from up to two before it, and the
// names of those that each reads from.
func random(n int, seed uint32) (text string, reads map[string][]string) {
	text, reads = "pipeline: p\nstages:\n", map[string][]string{}
	for i := range n {
		var in []string
		for _, port := range []string{"in", "other"} {
			seed = seed*1664525 + 1013904223 // Numerical Recipes
			if from := int(seed>>8) % (i + 3); from < i {
				in = append(in, fmt.Sprintf(`%s: "${s%d.out}"`, port, from))
				reads[fmt.Sprintf("s%d", i)] = append(reads[fmt.Sprintf("s%d", i)], fmt.Sprintf("s%d", from))
			}
		}
		text += fmt.Sprintf("  s%d: { uses: do, in: { %s }, with: { do: some, level: %d } }\n", i, strings.Join(in, ", "), i)
	}
	return text, reads
}

func TestEveryStepIsToldOfAfterWhatItReads(t *testing.T) {
	for seed := range uint32(4) {
		text, reads := random(25, seed)
		b := newBench(t)
		b.does["some"] = func(_ context.Context, _ *stages.Env, level int, _, out string) error {
			if level%7 == 5 {
				return errors.New("no")
			}
			return os.WriteFile(out, fmt.Append(nil, level), 0o666)
		}
		rec := b.run(text, func(r *Runner) { r.Jobs = 3; r.Machine.CPU = 3 })
		ended := map[string]Outcome{}
		for _, e := range rec.events {
			for _, from := range reads[e.Stage] {
				switch outcome := ended[from]; {
				case e.Type == "stage_start" && outcome != Ran:
					t.Fatalf("seed %d: %s began after %s was %q", seed, e.Stage, from, outcome)
				case e.Type == "stage_end" && e.Outcome != Skipped && outcome != Ran:
					t.Fatalf("seed %d: %s was %s, and %s, which it reads, %q", seed, e.Stage, e.Outcome, from, outcome)
				}
			}
			if e.Type == "stage_end" {
				if ended[e.Stage] != "" {
					t.Fatalf("seed %d: %s ended twice", seed, e.Stage)
				}
				ended[e.Stage] = e.Outcome
			}
		}
		for stage := range reads {
			broken := ""
			for _, from := range reads[stage] {
				if ended[from] != Ran {
					broken = from
				}
			}
			if (ended[stage] == Skipped) != (broken != "") {
				t.Errorf("seed %d: %s was %s although %q is broken", seed, stage, ended[stage], broken)
			}
		}
		if len(ended) != 25 {
			t.Errorf("seed %d: %d of 25 stages ended", seed, len(ended))
		}
	}
}

func TestStopBeginsNothingMoreAndWaits(t *testing.T) {
	b := newBench(t)
	stop, began := make(chan struct{}), atomic.Int32{}
	b.does["some"] = func(ctx context.Context, _ *stages.Env, level int, _, out string) error {
		if began.Add(1) == 2 {
			close(stop)
		}
		<-ctx.Done()
		return ctx.Err()
	}
	text, _ := random(20, 1)
	rec := b.run(text, func(r *Runner) { r.Stop = stop })
	if began.Load() != 2 || rec.summary.Exit != 130 || strings.Contains(rec.outcomes(), "ran") {
		t.Errorf("%d began, exit %d, %s", began.Load(), rec.summary.Exit, rec.outcomes())
	}
}

func TestALongChainIsKnown(t *testing.T) {
	const n = 300
	b := newBench(t)
	text := "pipeline: p\nstages:\n  s0: { uses: free, out: [out] }\n"
	for i := 1; i < n; i++ {
		text += fmt.Sprintf("  s%d: { uses: free, in: { in: \"${s%d.out}\" }, out: [out] }\n", i, i-1)
	}
	// All but the first have one key: their inputs are equal.
	if rec := b.run(text, nil); rec.summary.Exit != 0 {
		t.Fatal(rec.summary.Error)
	}
	rec := b.run(text, nil)
	for _, s := range rec.summary.Stages {
		if s.Outcome != Cached {
			t.Fatalf("%s was %s", s.Stage, s.Outcome)
		}
	}
}

func TestTheNextStageRunsWhileAResultIsCommitted(t *testing.T) {
	b := newBench(t)
	second := make(chan struct{})
	b.does["some"] = func(_ context.Context, _ *stages.Env, level int, _, out string) error {
		if level == 2 {
			close(second)
		}
		return os.WriteFile(out, fmt.Append(nil, level), 0o666)
	}
	var waited atomic.Bool
	defer faultfs.Set(func(op *faultfs.Op, act func() error) error {
		if op.Kind == faultfs.RenameOp && strings.Contains(op.To, "actions") && waited.CompareAndSwap(false, true) { // the first's record
			select {
			case <-second:
			case <-time.After(20 * time.Second):
				t.Error("the second stage does not begin before the first is committed")
			}
		}
		return act()
	})()
	const text = `
pipeline: p
stages:
  first: { uses: do, with: { do: some, level: 1 }, resources: { cpu: 2 } }
  second: { uses: do, with: { do: some, level: 2 }, resources: { cpu: 2 } }
`
	rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU = 2, 2 })
	if rec.outcomes() != "first=ran second=ran" || !waited.Load() {
		t.Error(rec.outcomes(), waited.Load())
	}
}

func TestOneJobIsOneAfterTheOther(t *testing.T) {
	b := newBench(t)
	b.does["some"] = func(_ context.Context, _ *stages.Env, level int, _, out string) error {
		return os.WriteFile(out, fmt.Append(nil, level), 0o666)
	}
	text, _ := random(12, 3)
	rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU = 1, 4 })
	running := ""
	for _, e := range rec.events {
		switch {
		case e.Type == "stage_start" && running != "":
			t.Errorf("%s began before %s ended", e.Stage, running)
		case e.Type == "stage_start":
			running = e.Stage
		case e.Type == "stage_end":
			running = ""
		}
	}
}

func TestEqualStagesAreComputedOnceAndHoldNothing(t *testing.T) {
	b := newBench(t)
	third := make(chan struct{})
	b.does["some"] = func(ctx context.Context, _ *stages.Env, level int, _, out string) error {
		switch level {
		case 1:
			<-third // which could not begin if the second held its place
		case 3:
			close(third)
		}
		return os.WriteFile(out, fmt.Append(nil, level), 0o666)
	}
	const text = `
pipeline: p
stages:
  first: { uses: do, with: { do: some, level: 1 } }
  second: { uses: do, with: { do: some, level: 1 } }
  third: { uses: do, with: { do: some, level: 3 } }
  reader: { uses: do, in: { in: "${second.out}" }, with: { do: copy } }
`
	rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU, r.MaxWait = 2, 2, time.Nanosecond })
	got := rec.outcomes()
	if got != "first=ran second=cached third=ran reader=ran" && got != "first=cached second=ran third=ran reader=ran" {
		t.Errorf("got %s: %v", got, rec.summary)
	}
}

func TestEqualStagesAreRecomputedOnce(t *testing.T) {
	b := newBench(t)
	var made atomic.Int32
	b.does["some"] = func(_ context.Context, _ *stages.Env, _ int, _, out string) error {
		return os.WriteFile(out, fmt.Append(nil, made.Add(1)), 0o666)
	}
	const text = `
pipeline: p
stages:
  first: { uses: do, with: { do: some } }
  second: { uses: do, with: { do: some } }
`
	b.run(text, nil)
	rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU, r.Recompute = 2, 2, []string{"first", "second"} })
	if rec.summary.Exit != 0 || made.Load() != 2 {
		t.Errorf("made %d times in two runs: %s", made.Load(), rec.outcomes())
	}
}

func TestManyEqualStagesEndAsOne(t *testing.T) {
	for seed := range uint32(6) {
		text, _ := random(40, seed)
		for i := range 40 { // four actions, wherever they read the same
			text = strings.Replace(text, fmt.Sprintf("level: %d }", i), fmt.Sprintf("level: %d%s}", i%4, strings.Repeat(" ", 1+i)), 1)
		}
		b := newBench(t)
		b.does["some"] = func(_ context.Context, _ *stages.Env, level int, in, out string) error {
			text, _ := os.ReadFile(in)
			return os.WriteFile(out, fmt.Appendf(text, "%d", level), 0o666)
		}
		rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU = 4, 4 })
		if rec.summary.Exit != 0 || len(rec.summary.Stages) != 40 {
			t.Fatalf("seed %d: %v", seed, rec.summary)
		}
		ran := map[string]bool{}
		for _, s := range rec.summary.Stages {
			if s.Outcome == Ran && ran[s.Key] {
				t.Errorf("seed %d: %s ran although its twin had", seed, s.Stage)
			}
			ran[s.Key] = ran[s.Key] || s.Outcome == Ran
		}
	}
}

func TestAStageThatFailsFailsItsTwinToo(t *testing.T) {
	b := newBench(t)
	b.does["some"] = func(context.Context, *stages.Env, int, string, string) error { return errors.New("no") }
	const text = `
pipeline: p
stages:
  first: { uses: do, with: { do: some } }
  second: { uses: do, with: { do: some } }
  reader: { uses: do, in: { in: "${second.out}" }, with: { do: copy } }
`
	rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU, r.KeepGoing = 2, 2, true })
	if got := rec.outcomes(); got != "first=failed second=failed reader=skipped" {
		t.Errorf("got %s", got)
	}
}

func TestALargeStageIsNotOvertakenForEver(t *testing.T) {
	b := newBench(t)
	b.does["some"] = func(_ context.Context, _ *stages.Env, level int, _, out string) error {
		return os.WriteFile(out, fmt.Append(nil, level), 0o666)
	}
	text := "pipeline: p\nstages:\n" +
		"  long: { uses: do, with: { do: wait } }\n" +
		"  large: { uses: do, with: { do: some, level: 1000 }, resources: { cpu: 2 } }\n"
	const small = 3 * mostOvertaken
	for i := range small {
		text += fmt.Sprintf("  s%d: { uses: do, with: { do: some, level: %d } }\n", i, i)
	}
	began := atomic.Int32{}
	b.does["wait"] = func(ctx context.Context, _ *stages.Env, _ int, _, out string) error {
		for began.Load() < mostOvertaken { // those that may overtake do
			runtime.Gosched()
		}
		return os.WriteFile(out, nil, 0o666)
	}
	some := b.does["some"]
	before := int32(-1)
	b.does["some"] = func(ctx context.Context, env *stages.Env, level int, in, out string) error {
		if level == 1000 {
			before = began.Load()
		} else {
			began.Add(1)
		}
		return some(ctx, env, level, in, out)
	}
	rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU = 2, 2 })
	if rec.summary.Exit != 0 || before != mostOvertaken {
		t.Errorf("exit %d, %d of %d began before the large one, want %d", rec.summary.Exit, before, small, mostOvertaken)
	}
}

func TestMoreJobsThanProcessors(t *testing.T) {
	b := newBench(t)
	var at sync.WaitGroup
	at.Add(3)
	b.does["some"] = func(_ context.Context, _ *stages.Env, level int, _, out string) error {
		at.Done()
		at.Wait()
		return os.WriteFile(out, fmt.Append(nil, level), 0o666)
	}
	const text = `
pipeline: p
stages:
  a: { uses: do, with: { do: some, level: 1 } }
  b: { uses: do, with: { do: some, level: 2 } }
  c: { uses: do, with: { do: some, level: 3 } }
`
	if rec := b.run(text, func(r *Runner) { r.Jobs, r.Machine.CPU = 3, 1 }); rec.summary.Exit != 0 {
		t.Error(rec.summary)
	}
}
