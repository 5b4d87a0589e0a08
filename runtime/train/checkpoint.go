package train

import (
	"context"
	"errors"
)

// errStopped says that Hooks.Stop came while a checkpoint was being measured.
var errStopped = errors.New("stopped")

// periodic makes the checkpoint of a step that is a multiple of SaveSteps, once.
func (r *runner) periodic(ctx context.Context) error {
	every, step := r.plan.SaveSteps, r.trainer.steps
	if every == 0 || step == 0 || step%every != 0 || r.progress.Checkpointed == step {
		return nil
	}
	c, err := r.checkpoint(ctx)
	if err != nil {
		return err
	}
	kept, dropped := r.plan.Retain.keep(r.progress.Checkpoints, c, r.plan.SaveTotalLimit)
	r.progress.Checkpoints, r.progress.Checkpointed = kept, step
	// What is dropped goes after the state that does not know it any more is safe.
	if err := r.save(); err != nil {
		return err
	}
	for _, old := range dropped {
		if r.hooks.Drop == nil {
			break
		}
		if err := r.hooks.Drop(old); err != nil {
			return err
		}
	}
	return nil
}

// last makes the checkpoint of the step at which training ended, if there is none,
// and returns those to hand over.
func (r *runner) last(ctx context.Context) ([]Checkpoint, error) {
	if r.progress.Checkpointed == r.trainer.steps {
		return r.progress.Checkpoints, nil
	}
	c, err := r.checkpoint(ctx)
	if err != nil {
		return r.progress.Checkpoints, err
	}
	kept, _ := r.plan.Retain.keep(r.progress.Checkpoints, c, r.plan.SaveTotalLimit)
	return kept, nil
}

// checkpoint measures the adapter and has it written.
func (r *runner) checkpoint(ctx context.Context) (Checkpoint, error) {
	c := Checkpoint{Step: r.trainer.steps, Epoch: r.trainer.Epoch()}
	c.Figures, c.Health, c.Signs = r.diagnose()
	if len(r.holdOut) > 0 {
		figures, err := r.evaluate(ctx)
		if err != nil {
			return c, err
		}
		if err := r.trainer.check(c.Step, value{"hold-out loss", figures.Loss}, value{"hold-out entropy", figures.Entropy}); err != nil {
			return c, err
		}
		c.HoldOut = &figures
	}
	if r.hooks.Checkpoint == nil {
		return c, nil
	}
	return c, r.hooks.Checkpoint(c)
}

// evaluate measures the hold-out samples. It gives up with errStopped when
// Hooks.Stop comes: a large set takes longer than the grace that a preempted
// machine has.
func (r *runner) evaluate(ctx context.Context) (Figures, error) {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-r.hooks.Stop:
			cancel()
		case <-done:
		}
	}()
	figures, err := r.trainer.Evaluate(limited, r.holdOut)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return figures, errStopped
	}
	return figures, err
}
