package train

import (
	"context"
	"time"
)

// Reason says why a run ended.
type Reason string

const (
	ReachedEpochs  Reason = "max_epochs"
	ReachedSteps   Reason = "max_steps"
	ReachedHorizon Reason = "schedule_steps"
	ReachedTime    Reason = "time_budget"
	SawOverfitting Reason = "overfitting"
	Interrupted    Reason = "interrupted" // by Hooks.Stop: the training is not over
)

// Progress is what a run has to know of the runs before it, beside the trainer's
// State. The zero value is a new training. It survives JSON.
type Progress struct {
	Spent       time.Duration `json:"spent"` // of the time budget
	Checkpoints []Checkpoint  `json:"checkpoints"`
	// Checkpointed is the last step that a checkpoint was made at.
	Checkpointed int    `json:"checkpointed"`
	Window       []sums `json:"window"` // that figures are smoothed over
}

// Report tells of one step.
type Report struct {
	Metrics
	// End is the step at which training ends unless something else ends it before;
	// 0 if only a clock does.
	End             int
	TokensPerSecond float64       // over the time in steps of this run
	Left            time.Duration // until End or the end of the budget, whichever is first
	Smoothed        Figures
	Health          Health   // Unknown before the window is full
	Signs           []string // of overfitting
}

// Hooks are what a run calls. All may be nil.
type Hooks struct {
	// Elapsed is a clock that neither stands still nor jumps. nil is the system's.
	Elapsed func() time.Duration
	// Stop asks the run to end in an orderly way, to be gone on with.
	Stop <-chan struct{}

	Step func(Report)
	// Checkpoint is called for each checkpoint: write the trainer's adapter. After
	// a crash it may be called again for the same step.
	Checkpoint func(Checkpoint) error
	// Drop is called for each checkpoint that retention gives up, after Save. A
	// crash may swallow it: only those in Progress and Outcome count.
	Drop func(Checkpoint) error

	// Save is called to keep the trainer's State and the progress, both in one:
	// after every checkpoint, where the run ends, and when SaveEvery (0: never) has
	// passed since the last time.
	Save      func(Progress) error
	SaveEvery time.Duration
}

// Outcome is how a run ended.
type Outcome struct {
	Reason Reason
	Steps  int // made in all
	// Spent is the time spent in all.
	Spent time.Duration
	// Checkpoints are those to hand over, rising by step.
	Checkpoints []Checkpoint
	Health      Health
	Signs       []string
}

// runner is a Run in progress.
type runner struct {
	trainer  *Trainer
	plan     Plan
	progress Progress
	hooks    Hooks
	holdOut  []Sample
	window   window
	end      int
	endsBy   Reason

	spent     time.Duration // before this run
	start     time.Duration // on the clock
	saved     time.Duration // on the clock, last call of Save
	inSteps   time.Duration // of this run
	tokens    int           // in them
	madeSteps int
}

// Run trains until the plan says that it is enough. plan and the trainer's settings
// must be valid together (Plan.Validate). before is zero, or what Save got in the
// run that the trainer's state was restored from.
//
// Where training ends it makes a last checkpoint, unless there is one of that step.
// If that step is no multiple of SaveSteps, only the Outcome knows of it: Progress
// does not, and nothing is dropped for it, so that a run resumed with a larger
// budget ends up with the checkpoints of one that never stopped. On Hooks.Stop
// there is no such checkpoint, since training is not over: Save has it all.
//
// Errors are those of Trainer.Step and of the hooks, and ctx's when it is done,
// after which nothing more is saved. Outcome is meaningful with an error too.
func Run(ctx context.Context, t *Trainer, plan Plan, holdOut []Sample, before Progress, hooks Hooks) (Outcome, error) {
	if hooks.Elapsed == nil {
		began := time.Now()
		hooks.Elapsed = func() time.Duration { return time.Since(began) }
	}
	r := &runner{trainer: t, plan: plan, progress: before, hooks: hooks, holdOut: holdOut}
	r.start = hooks.Elapsed()
	r.saved, r.spent = r.start, before.Spent
	r.window = window{length: windowLength(plan.SaveSteps, t.StepsPerEpoch()), steps: append([]sums(nil), before.Window...)}
	r.end, r.endsBy = plan.end(t.settings.Schedule, t.StepsPerEpoch())
	reason, err := r.run(ctx)
	out := Outcome{Reason: reason, Steps: t.steps, Spent: r.elapsed(), Checkpoints: r.progress.Checkpoints}
	_, out.Health, out.Signs = r.diagnose()
	if err != nil || reason == Interrupted {
		return out, err
	}
	if out.Checkpoints, err = r.last(ctx); err == errStopped {
		out.Reason, err = Interrupted, nil
	}
	return out, err
}

// run makes steps until there is a reason to end.
func (r *runner) run(ctx context.Context) (Reason, error) {
	for {
		switch err := r.periodic(ctx); {
		case err == errStopped:
			return Interrupted, r.save()
		case err != nil:
			return "", err
		}
		if reason := r.reason(); reason != "" {
			return reason, r.save()
		}
		if r.stopped() {
			return Interrupted, r.save()
		}
		if err := r.step(ctx); err != nil {
			return "", err
		}
		if every := r.hooks.SaveEvery; every > 0 && r.hooks.Elapsed()-r.saved >= every {
			if err := r.save(); err != nil {
				return "", err
			}
		}
	}
}

// reason says why training is over, or "".
func (r *runner) reason() Reason {
	_, health, _ := r.diagnose()
	switch {
	case r.end > 0 && r.trainer.steps >= r.end:
		return r.endsBy
	case r.plan.OnOverfit == Stop && health == Overfit:
		return SawOverfitting
	case r.plan.TimeBudget > 0 && r.elapsed() >= r.plan.TimeBudget:
		return ReachedTime
	}
	return ""
}

func (r *runner) elapsed() time.Duration { return r.spent + r.hooks.Elapsed() - r.start }

func (r *runner) stopped() bool {
	select {
	case <-r.hooks.Stop:
		return true
	default:
		return false
	}
}

// diagnose judges the training as it is; unknown before the window is full.
func (r *runner) diagnose() (Figures, Health, []string) {
	f, full := r.window.figures()
	if !full {
		return f, Unknown, nil
	}
	health, signs := r.plan.Bands.Diagnose(f, r.trainer.Epoch())
	return f, health, signs
}

func (r *runner) step(ctx context.Context) error {
	from := r.hooks.Elapsed()
	metrics, err := r.trainer.Step(ctx)
	if err != nil {
		return err
	}
	r.inSteps += r.hooks.Elapsed() - from
	r.tokens += metrics.Tokens
	r.madeSteps++
	r.window.add(metrics.Figures)
	if r.hooks.Step == nil {
		return nil
	}
	report := Report{Metrics: metrics, End: r.end, Left: r.left()}
	report.Smoothed, report.Health, report.Signs = r.diagnose()
	if seconds := r.inSteps.Seconds(); seconds > 0 {
		report.TokensPerSecond = float64(r.tokens) / seconds
	}
	r.hooks.Step(report)
	return nil
}

// left is the time until training ends by its steps or its budget; 0 if neither
// is set.
func (r *runner) left() time.Duration {
	var left time.Duration
	if r.end > 0 {
		left = r.inSteps / time.Duration(r.madeSteps) * time.Duration(max(r.end-r.trainer.steps, 0))
	}
	if budget := r.plan.TimeBudget; budget > 0 {
		if rest := max(budget-r.elapsed(), 0); r.end == 0 || rest < left {
			left = rest
		}
	}
	return left
}

// save hands the progress over.
func (r *runner) save() error {
	r.progress.Spent = r.elapsed()
	r.progress.Window = append([]sums(nil), r.window.steps...)
	r.saved = r.hooks.Elapsed()
	if r.hooks.Save == nil {
		return nil
	}
	return r.hooks.Save(r.progress)
}
