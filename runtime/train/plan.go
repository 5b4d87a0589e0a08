package train

import (
	"fmt"
	"math"
	"time"

	"pipe/runtime/optim"
)

// OnOverfit says what a Run does where its bands see overfitting.
type OnOverfit string

const (
	Warn OnOverfit = "warn" // goes on; Report and Checkpoint say so
	Stop OnOverfit = "stop" // stops
)

// Plan is the policy of a run. The names are those of the parameters of
// train-qlora. Nothing in it changes what a step computes: a run that is cut at
// step k equals the first k steps of one that is not.
type Plan struct {
	// A run stops at the first of these that is reached; 0 is none. TimeBudget is
	// the time that was spent in all, over resumed runs too.
	TimeBudget time.Duration
	MaxSteps   int
	MaxEpochs  float64

	// A checkpoint is made every SaveSteps (0: none) and where training stops, and
	// SaveTotalLimit (0: all) of them are kept, by Retain.
	SaveSteps      int
	SaveTotalLimit int
	Retain         Retention // "" is Spread

	OnOverfit OnOverfit // "" is Warn
	Bands     Bands
}

// Horizon returns the step at which a schedule ends: scheduleSteps, or else
// ⌈maxEpochs × stepsPerEpoch⌉, or else 0, which only a constant schedule takes. While
// the number of samples is not known, 1 for stepsPerEpoch tells whether there is a
// horizon at all.
func Horizon(scheduleSteps int, maxEpochs float64, stepsPerEpoch int) int {
	if scheduleSteps > 0 {
		return scheduleSteps
	}
	return ceilSteps(maxEpochs, stepsPerEpoch)
}

// ceilSteps is ⌈epochs × stepsPerEpoch⌉. An error of 1e-9 is one of rounding: 0.1
// epochs of 30 steps are 3.
func ceilSteps(epochs float64, stepsPerEpoch int) int {
	return int(math.Ceil(epochs*float64(stepsPerEpoch) - 1e-9))
}

// Validate says what is wrong with a plan under a schedule, or nothing.
func (p Plan) Validate(s optim.Schedule, hasHoldOut bool) error {
	switch {
	case p.TimeBudget < 0:
		return fmt.Errorf("time_budget: must not be negative, got %v", p.TimeBudget)
	case p.MaxSteps < 0:
		return fmt.Errorf("max_steps: must not be negative, got %d", p.MaxSteps)
	case !(p.MaxEpochs >= 0 && p.MaxEpochs <= 1e6):
		return fmt.Errorf("max_epochs: must be from 0 to 1e6, got %g", p.MaxEpochs)
	case p.SaveSteps < 0:
		return fmt.Errorf("save_steps: must not be negative, got %d", p.SaveSteps)
	case p.SaveTotalLimit < 0:
		return fmt.Errorf("save_total_limit: must not be negative, got %d", p.SaveTotalLimit)
	case p.Retain != "" && p.Retain != Spread && p.Retain != Last && p.Retain != Best:
		return fmt.Errorf("retain: must be spread, last or best, got %q", p.Retain)
	case p.Retain == Best && !hasHoldOut:
		return fmt.Errorf("retain: best goes by hold-out loss, and no samples are held out")
	case p.OnOverfit != "" && p.OnOverfit != Warn && p.OnOverfit != Stop:
		return fmt.Errorf("on_overfit: must be warn or stop, got %q", p.OnOverfit)
	case p.TimeBudget == 0 && p.MaxSteps == 0 && p.MaxEpochs == 0 && s.Kind == optim.Constant:
		return fmt.Errorf("nothing ends the training: set time_budget, max_steps or max_epochs")
	}
	h := p.Bands.Healthy
	for name, r := range map[string]*Range{"loss": h.Loss, "accuracy": h.Accuracy, "entropy": h.Entropy, "epoch": h.Epoch} {
		if r != nil && !(r[0] <= r[1]) {
			return fmt.Errorf("health.healthy.%s: must rise, got [%g, %g]", name, r[0], r[1])
		}
	}
	return s.Validate()
}

// end is the step at which a run ends unless a clock or overfitting ends it
// before, and why; 0 if there is none. A schedule that has fallen to 0 ends it.
func (p Plan) end(s optim.Schedule, stepsPerEpoch int) (int, Reason) {
	end, reason := 0, Reason("")
	at := func(step int, why Reason) {
		if step > 0 && (end == 0 || step < end) {
			end, reason = step, why
		}
	}
	at(ceilSteps(p.MaxEpochs, stepsPerEpoch), ReachedEpochs)
	at(p.MaxSteps, ReachedSteps)
	if s.Kind != optim.Constant {
		at(s.Horizon, ReachedHorizon)
	}
	return end, reason
}
