package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pipe/runtime/ops"
)

// recorder is a run's outer world: a clock that each step moves on by a second, and
// the adapters that were written.
type recorder struct {
	now     time.Duration
	stop    chan struct{}
	reports []Report
	written map[int][]float32 // adapters by step
	calls   []string
	trainer *Trainer

	state    State
	progress string // as JSON
}

func newRecorder(trainer *Trainer) *recorder {
	return &recorder{stop: make(chan struct{}), written: map[int][]float32{}, trainer: trainer}
}

func (r *recorder) hooks() Hooks {
	return Hooks{
		Elapsed: func() time.Duration { return r.now },
		Stop:    r.stop,
		Step: func(report Report) {
			r.reports = append(r.reports, report)
			r.now += time.Second
		},
		Checkpoint: func(c Checkpoint) error {
			r.written[c.Step] = r.trainer.Adapter().Snapshot()
			r.calls = append(r.calls, fmt.Sprint("checkpoint ", c.Step))
			return nil
		},
		Drop: func(c Checkpoint) error {
			r.calls = append(r.calls, fmt.Sprint("drop ", c.Step))
			return nil
		},
		Save: func(p Progress) error {
			r.calls = append(r.calls, fmt.Sprint("save ", r.trainer.Steps()))
			text, err := json.Marshal(p)
			if err != nil {
				return err
			}
			r.progress = string(text)
			r.state, err = r.trainer.State()
			return err
		},
	}
}

func (r *recorder) metrics() []Metrics {
	var all []Metrics
	for _, report := range r.reports {
		all = append(all, report.Metrics)
	}
	return all
}

// resume returns a recorder whose trainer goes on from what was saved, and the
// progress.
func (r *recorder) resume(t *testing.T) (*recorder, Progress) {
	t.Helper()
	next := newRecorder(newTrainer(t, ops.NewReference(), runSamples, 0.1, someSettings))
	var p Progress
	if r.progress == "" {
		return next, p
	}
	if err := next.trainer.Restore(r.state); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(r.progress), &p); err != nil {
		t.Fatal(err)
	}
	return next, p
}

func (r *recorder) run(t *testing.T, plan Plan, p Progress) Outcome {
	t.Helper()
	out, err := Run(context.Background(), r.trainer, plan, runHoldOut, p, r.hooks())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var (
	runSamples = someSamples(10) // 3 steps an epoch
	runHoldOut = someSamples(13)[10:]
)

func freshRecorder(t *testing.T) *recorder {
	r, _ := (&recorder{}).resume(t)
	return r
}

var somePlan = Plan{MaxSteps: 10, SaveSteps: 4, Retain: Spread, OnOverfit: Warn}

func TestRunMakesCheckpointsOnTheWayAndAtTheEnd(t *testing.T) {
	r := freshRecorder(t)
	out := r.run(t, somePlan, Progress{})
	if got := fmt.Sprint(r.calls); got != "[checkpoint 4 save 4 checkpoint 8 save 8 save 10 checkpoint 10]" {
		t.Errorf("got %s", got)
	}
	if out.Reason != ReachedSteps || out.Steps != 10 || stepsOf(out.Checkpoints) != "4 8 10" {
		t.Errorf("got %+v", out)
	}
	if c := out.Checkpoints[0]; c.HoldOut == nil || c.HoldOut.Supervised == 0 || c.Epoch != 4.0/3 || c.Loss == 0 {
		t.Errorf("got %+v", c)
	}
}

func TestRunMakesNoSecondCheckpointOfOneStep(t *testing.T) {
	r := freshRecorder(t)
	plan := somePlan
	plan.MaxSteps = 8
	if out := r.run(t, plan, Progress{}); stepsOf(out.Checkpoints) != "4 8" {
		t.Errorf("got %s", stepsOf(out.Checkpoints))
	}
	if got := fmt.Sprint(r.calls); got != "[checkpoint 4 save 4 checkpoint 8 save 8 save 8]" {
		t.Errorf("got %s", got)
	}
}

func TestRunEndsAtWhateverComesFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		plan   Plan
		steps  int
		reason Reason
	}{
		{"steps", Plan{MaxSteps: 5, MaxEpochs: 4, TimeBudget: time.Minute}, 5, ReachedSteps},
		{"epochs", Plan{MaxSteps: 50, MaxEpochs: 4, TimeBudget: time.Minute}, 12, ReachedEpochs},
		{"part of an epoch", Plan{MaxEpochs: 1.5}, 5, ReachedEpochs},
		{"time", Plan{MaxSteps: 50, MaxEpochs: 40, TimeBudget: 7 * time.Second}, 7, ReachedTime},
		{"time between two steps", Plan{TimeBudget: 6500 * time.Millisecond}, 7, ReachedTime},
		{"the schedule's end", Plan{TimeBudget: time.Hour}, 40, ReachedHorizon},
	} {
		c.plan.Retain, c.plan.OnOverfit = Spread, Warn
		r := freshRecorder(t)
		out := r.run(t, c.plan, Progress{})
		if out.Steps != c.steps || out.Reason != c.reason || stepsOf(out.Checkpoints) != fmt.Sprint(c.steps) {
			t.Errorf("%s: got %+v, want %d steps, %s", c.name, out, c.steps, c.reason)
		}
	}
}

func TestStopConditionsDoNotShapeTraining(t *testing.T) {
	whole := freshRecorder(t)
	whole.run(t, Plan{MaxSteps: 12, SaveSteps: 3, Retain: Spread, OnOverfit: Warn}, Progress{})
	for k := 1; k < 12; k++ {
		cut := freshRecorder(t)
		cut.run(t, Plan{MaxSteps: k, SaveSteps: 3, Retain: Spread, OnOverfit: Warn}, Progress{})
		if !slices.Equal(cut.metrics(), whole.metrics()[:k]) {
			t.Errorf("cut at %d: metrics differ", k)
		}
		if k%3 == 0 && !slices.Equal(cut.written[k], whole.written[k]) {
			t.Errorf("cut at %d: the adapters differ", k)
		}
	}
}

// TestStoppedRunsResumeBitForBit interrupts a run at every step, and once more, and
// compares everything that it hands over.
func TestStoppedRunsResumeBitForBit(t *testing.T) {
	plan := Plan{MaxSteps: 12, SaveSteps: 2, SaveTotalLimit: 3, Retain: Spread, OnOverfit: Warn,
		Bands: Bands{Healthy: Healthy{Epoch: &Range{1.2, 2.4}}}}
	whole := freshRecorder(t)
	want := whole.run(t, plan, Progress{})
	for k := range 12 {
		r, p := freshRecorder(t), Progress{}
		metrics, written := []Metrics(nil), map[int][]float32{}
		var out Outcome
		for _, after := range []int{k, 1, 100} { // steps until the next interruption
			hooks := r.hooks()
			step := hooks.Step
			hooks.Step = func(report Report) {
				step(report)
				if len(r.reports) == after {
					close(r.stop)
				}
			}
			if after == 0 {
				close(r.stop)
			}
			var err error
			if out, err = Run(context.Background(), r.trainer, plan, runHoldOut, p, hooks); err != nil {
				t.Fatal(err)
			}
			if out.Reason != Interrupted && len(metrics)+after < 12 {
				t.Errorf("stopped at %d: the run ended by %s", k, out.Reason)
			}
			metrics = append(metrics, r.metrics()...)
			for step, values := range r.written {
				written[step] = values
			}
			// A stop in the last step is too late, or comes while its checkpoint is
			// measured.
			if out.Reason != Interrupted {
				break
			}
			r, p = r.resume(t)
		}
		if !slices.Equal(metrics, whole.metrics()) {
			t.Errorf("stopped at %d: metrics differ", k)
		}
		if got, want := describe(t, out), describe(t, want); got != want {
			t.Errorf("stopped at %d:\ngot  %s\nwant %s", k, got, want)
		}
		for _, c := range out.Checkpoints {
			if !slices.Equal(written[c.Step], whole.written[c.Step]) {
				t.Errorf("stopped at %d: the adapters of step %d differ", k, c.Step)
			}
		}
	}
}

// describe is an outcome as JSON, without the time.
func describe(t *testing.T, out Outcome) string {
	t.Helper()
	out.Spent = 0
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestALargerBudgetGoesOnAsIfTheSmallerHadNotBeen(t *testing.T) {
	plan := Plan{SaveSteps: 3, SaveTotalLimit: 2, Retain: Spread, OnOverfit: Warn}
	with := func(steps int) Plan {
		plan.MaxSteps = steps
		return plan
	}
	whole := freshRecorder(t)
	want := whole.run(t, with(14), Progress{})
	small := freshRecorder(t)
	if out := small.run(t, with(8), Progress{}); stepsOf(out.Checkpoints) != "3 8" {
		t.Fatalf("the small budget keeps %s", stepsOf(out.Checkpoints))
	}
	large, p := small.resume(t)
	got := large.run(t, with(14), p)
	if describe(t, got) != describe(t, want) {
		t.Errorf("got  %s\nwant %s", describe(t, got), describe(t, want))
	}
}

func TestBudgetCountsTheTimeOfEarlierRuns(t *testing.T) {
	r := freshRecorder(t)
	p, total := Progress{}, 0
	plan := Plan{TimeBudget: 20 * time.Second, SaveSteps: 100, Retain: Spread, OnOverfit: Warn}
	for range 5 {
		r.now = time.Duration(total*100) * time.Hour // another boot, another clock
		hooks := r.hooks()
		step := hooks.Step
		hooks.Step = func(report Report) {
			step(report)
			if len(r.reports) == 3 {
				close(r.stop)
			}
		}
		if _, err := Run(context.Background(), r.trainer, plan, nil, p, hooks); err != nil {
			t.Fatal(err)
		}
		total += len(r.reports)
		r, p = r.resume(t)
	}
	if p.Spent != 15*time.Second {
		t.Errorf("spent %v in 15 steps", p.Spent)
	}
	if out := r.run(t, plan, p); out.Steps != 20 || out.Reason != ReachedTime || out.Spent != 20*time.Second {
		t.Errorf("got %+v", out)
	}
}

func TestReportsTellRateAndTimeLeft(t *testing.T) {
	trainer := freshRecorder(t).trainer
	var now time.Duration
	var reports []Report
	_, err := Run(context.Background(), trainer, Plan{MaxSteps: 6, TimeBudget: 7 * time.Second, SaveSteps: 100, Retain: Spread, OnOverfit: Warn}, nil, Progress{}, Hooks{
		// Every look at the clock takes half a second; a step looks twice.
		Elapsed: func() time.Duration { now += 250 * time.Millisecond; return now },
		Step:    func(r Report) { reports = append(reports, r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	first := reports[0]
	if want := float64(first.Tokens) / 0.25; first.TokensPerSecond != want || first.End != 6 {
		t.Errorf("got %g tokens/s and end %d, want %g and 6", first.TokensPerSecond, first.End, want)
	}
	if first.Left != 5*250*time.Millisecond {
		t.Errorf("%v are left, want five steps of a quarter of a second", first.Left)
	}
}

func TestOverfittingWarnsOrStops(t *testing.T) {
	for _, action := range []OnOverfit{Warn, Stop} {
		r := freshRecorder(t)
		out := r.run(t, Plan{MaxSteps: 9, SaveSteps: 2, Retain: Spread, OnOverfit: action,
			Bands: Bands{Overfitting: Overfitting{EpochAbove: ref(1.5)}}}, Progress{})
		if r.reports[3].Health == Overfit || r.reports[4].Health != Overfit || fmt.Sprint(r.reports[4].Signs) != "[epoch 1.67 above 1.5]" {
			t.Errorf("%s: step 4 is %q, step 5 %q %v", action, r.reports[3].Health, r.reports[4].Health, r.reports[4].Signs)
		}
		switch {
		case action == Warn && (out.Steps != 9 || out.Reason != ReachedSteps):
			t.Errorf("warn: got %+v", out)
		case action == Stop && (out.Steps != 5 || out.Reason != SawOverfitting || stepsOf(out.Checkpoints) != "2 4 5"):
			t.Errorf("stop: got %+v", out)
		}
	}
}

func TestDroppedCheckpointsAreDroppedAfterTheStateIsSafe(t *testing.T) {
	r := freshRecorder(t)
	out := r.run(t, Plan{MaxSteps: 5, SaveSteps: 1, SaveTotalLimit: 2, Retain: Last, OnOverfit: Warn}, Progress{})
	if stepsOf(out.Checkpoints) != "4 5" {
		t.Errorf("kept %s", stepsOf(out.Checkpoints))
	}
	want := "[checkpoint 1 save 1 checkpoint 2 save 2 checkpoint 3 save 3 drop 1 checkpoint 4 save 4 drop 2 checkpoint 5 save 5 drop 3 save 5]"
	if got := fmt.Sprint(r.calls); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSaveEverySavesBetweenCheckpoints(t *testing.T) {
	r := freshRecorder(t)
	hooks := r.hooks()
	hooks.SaveEvery = 3 * time.Second
	if _, err := Run(context.Background(), r.trainer, Plan{MaxSteps: 8, SaveSteps: 5, Retain: Spread, OnOverfit: Warn}, nil, Progress{}, hooks); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.calls); got != "[save 3 checkpoint 5 save 5 save 8 save 8 checkpoint 8]" {
		t.Errorf("got %s", got)
	}
}

func TestStopDuringEvaluationLosesNothing(t *testing.T) {
	r := freshRecorder(t)
	hooks := r.hooks()
	hooks.Step = func(report Report) {
		r.reports = append(r.reports, report)
		if report.Step == 4 {
			close(r.stop) // the checkpoint of step 4 comes next
		}
	}
	out, err := Run(context.Background(), r.trainer, somePlan, runHoldOut, Progress{}, hooks)
	if err != nil || out.Reason != Interrupted {
		t.Fatalf("got %+v, %v", out, err)
	}
	next, p := r.resume(t)
	if out := next.run(t, somePlan, p); stepsOf(out.Checkpoints) != "4 8 10" {
		t.Errorf("kept %s", stepsOf(out.Checkpoints))
	}
	whole := freshRecorder(t)
	whole.run(t, somePlan, Progress{})
	if at := slices.Concat(r.written[4], next.written[4]); !slices.Equal(at[:len(whole.written[4])], whole.written[4]) {
		t.Error("the checkpoint of the step it was stopped at differs")
	}
}

func TestRunReturnsErrors(t *testing.T) {
	t.Run("of a step", func(t *testing.T) {
		b := &poison{Backend: ops.NewReference(), what: "update", n: 5}
		r := newRecorder(newTrainer(t, b, runSamples, 0, someSettings))
		out, err := Run(context.Background(), r.trainer, somePlan, nil, Progress{}, r.hooks())
		var bad *NonFiniteError
		if !errors.As(err, &bad) || bad.Step != 6 {
			t.Fatalf("got %v, want step 6", err)
		}
		if stepsOf(out.Checkpoints) != "4" || out.Steps != 5 {
			t.Errorf("got %+v, want the checkpoint of step 4", out)
		}
	})
	t.Run("of a hook", func(t *testing.T) {
		full := errors.New("disk full")
		for _, spoil := range []func(*Hooks){
			func(h *Hooks) { h.Checkpoint = func(Checkpoint) error { return full } },
			func(h *Hooks) { h.Save = func(Progress) error { return full } },
			func(h *Hooks) { h.Drop = func(Checkpoint) error { return full } },
		} {
			r := freshRecorder(t)
			hooks := r.hooks()
			spoil(&hooks)
			plan := somePlan
			plan.SaveTotalLimit = 1
			if _, err := Run(context.Background(), r.trainer, plan, nil, Progress{}, hooks); !errors.Is(err, full) {
				t.Errorf("got %v, want disk full", err)
			}
		}
	})
	t.Run("of the context", func(t *testing.T) {
		r := freshRecorder(t)
		ctx, cancel := context.WithCancel(context.Background())
		hooks := r.hooks()
		hooks.Step = func(report Report) {
			if report.Step == 3 {
				cancel()
			}
		}
		out, err := Run(ctx, r.trainer, somePlan, runHoldOut, Progress{}, hooks)
		if !errors.Is(err, context.Canceled) || out.Steps != 3 || len(r.calls) != 0 {
			t.Errorf("got %+v, %v, %v", out, err, r.calls)
		}
	})
}
