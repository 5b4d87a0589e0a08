package train

import (
	"fmt"
	"slices"
)

// State is everything of a Trainer that is no pure function of settings and
// samples.
type State struct {
	Step     int       // steps made
	Params   []float32 // the adapter's, flat
	Moments1 []float32 // of AdamW, in the same order
	Moments2 []float32
}

// State copies the state to the host. After a failed step it is that step's
// error: what comes after a NaN must not be gone on from.
func (t *Trainer) State() (State, error) {
	if t.failed != nil {
		return State{}, t.failed
	}
	s := State{Step: t.steps, Params: t.adapter.Snapshot()}
	s.Moments1, s.Moments2 = t.optimizer.Moments()
	return s, t.backend.Sync()
}

// Restore takes over the state of a trainer with the same settings, samples and
// form of adapter. Of these only the adapter's size can be checked.
func (t *Trainer) Restore(s State) error {
	n := t.adapter.Params.Len()
	for _, values := range [][]float32{s.Params, s.Moments1, s.Moments2} {
		if len(values) != n {
			return fmt.Errorf("state of an adapter with %d parameters, this one has %d", len(values), n)
		}
		if slices.ContainsFunc(values, func(x float32) bool { return x-x != 0 }) {
			return fmt.Errorf("state of step %d holds a number that is not finite", s.Step)
		}
	}
	if s.Step < 0 {
		return fmt.Errorf("state of step %d", s.Step)
	}
	t.adapter.Restore(s.Params)
	t.optimizer.Restore(s.Moments1, s.Moments2, s.Step)
	t.steps, t.tokens, t.failed = s.Step, t.course.tokens(s.Step), nil
	return t.backend.Sync()
}
