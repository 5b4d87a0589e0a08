package optim

import (
	"fmt"
	"math"
)

// Kind is the shape of a schedule after its warm-up.
type Kind string

const (
	Constant Kind = "constant" // stays at the peak
	Linear   Kind = "linear"   // falls in a straight line to 0 at the horizon
	Cosine   Kind = "cosine"   // falls along half a cosine to 0 at the horizon
)

// Schedule says which learning rate a step has. The rules are those of
// transformers' constant_with_warmup, linear and cosine schedules, whose
// LambdaLR gives step s (from 0) the factor of s: with a warm-up the first step
// has rate 0, though its gradients enter the moments.
type Schedule struct {
	Kind   Kind
	Peak   float64
	Warmup int // steps
	// Horizon is in steps. Constant has no use for it and may leave it 0.
	Horizon int
}

// Validate says what is wrong with s, or nothing.
func (s Schedule) Validate() error {
	switch {
	case s.Kind != Constant && s.Kind != Linear && s.Kind != Cosine:
		return fmt.Errorf("schedule: must be constant, linear or cosine, got %q", s.Kind)
	case !(s.Peak >= 0) || math.IsInf(s.Peak, 0):
		return fmt.Errorf("learning_rate: must be a finite number that is not negative, got %g", s.Peak)
	case s.Warmup < 0:
		return fmt.Errorf("warmup_steps: must not be negative, got %d", s.Warmup)
	case s.Horizon < 0:
		return fmt.Errorf("schedule_steps: must not be negative, got %d", s.Horizon)
	case s.Kind != Constant && s.Horizon == 0:
		return fmt.Errorf("schedule: %s falls to 0 at a horizon, and nothing gives one: set schedule_steps or max_epochs, or use constant", s.Kind)
	}
	return nil
}

// Rate returns the learning rate of a step, counted from 0. From the horizon on
// a falling schedule is 0.
func (s Schedule) Rate(step int) float64 {
	if step < s.Warmup {
		return s.Peak * (float64(step) / float64(s.Warmup))
	}
	if s.Kind == Constant {
		return s.Peak
	}
	if step >= s.Horizon {
		return 0
	}
	total := float64(max(1, s.Horizon-s.Warmup))
	if s.Kind == Linear {
		return s.Peak * (float64(s.Horizon-step) / total)
	}
	return s.Peak * (0.5 * (1 + math.Cos(math.Pi*(float64(step-s.Warmup)/total))))
}
