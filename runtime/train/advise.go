package train

import (
	"fmt"
	"math"
	"time"

	"pipe/runtime/optim"
)

// Advice is something about a plan that makes no sense.
type Advice struct {
	Param string // of train-qlora, the one to change
	Text  string
	Hint  string // what would make sense; may be empty
}

// adviser gathers advice about a plan.
type adviser struct {
	Plan
	settings Settings
	samples  int
	per      int // steps an epoch
	end      int // the step that training ends at; 0 if only a clock ends it
	endsBy   Reason
	list     []Advice
}

func (a *adviser) say(param, hint, format string, args ...any) {
	a.list = append(a.list, Advice{Param: param, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (a *adviser) epochs(steps int) float64 { return float64(steps) / float64(a.per) }

// Advise returns what makes no sense about a plan, given what is known before
// training. It takes settings and a plan that are valid.
func (p Plan) Advise(s Settings, samples int) []Advice {
	a := adviser{Plan: p, settings: s, samples: samples, per: StepsPerEpoch(samples, s.BatchSize)}
	a.end, a.endsBy = p.end(s.Schedule, a.per)
	a.rate()
	a.checkpoints()
	a.warmup()
	a.length()
	a.bands()
	return a.list
}

// highestRate is a learning rate above which an adapter has hardly ever learned: QLoRA
// used 1e-4 to 2e-4 (arXiv:2305.14314, table 9), tiny models bear ten times that.
const highestRate = 0.02

func (a *adviser) rate() {
	if a.settings.Schedule.Peak > highestRate {
		a.say("learning_rate", "5e-5 to 2e-4 for a 7B model, 2e-3 for the tiny one", "learning_rate %g is far above what adapters are trained with", a.settings.Schedule.Peak)
	}
}

func (a *adviser) checkpoints() {
	first, healthy := a.epochs(a.SaveSteps), a.Bands.Healthy.Epoch
	hint := fmt.Sprintf("an epoch has %d steps", a.per)
	switch {
	case a.SaveSteps == 0:
	case a.end > 0 && a.SaveSteps >= a.end:
		a.say("save_steps", hint, "save_steps %d is %.1f epochs, and training ends after %d steps: no checkpoint but the last", a.SaveSteps, first, a.end)
	case healthy != nil && math.Floor(healthy[1]/first) < math.Ceil(healthy[0]/first):
		a.say("save_steps", hint, "save_steps %d is %.1f epochs: no checkpoint lies within the healthy epochs %g to %g", a.SaveSteps, first, healthy[0], healthy[1])
	case first > 2:
		a.say("save_steps", hint, "save_steps %d is %.1f epochs: no checkpoint before epoch %d", a.SaveSteps, first, int(first))
	}
	if a.SaveTotalLimit == 1 && a.Retain != Last {
		a.say("save_total_limit", "retain: last says so", "save_total_limit 1 keeps the last checkpoint alone, whatever retain says")
	}
	if a.Retain != Last || a.SaveTotalLimit == 0 || a.SaveSteps == 0 || a.end == 0 || healthy == nil {
		return
	}
	// The last is at the end, the others at the multiples of save_steps before it.
	oldest := ((a.end-1)/a.SaveSteps - (a.SaveTotalLimit - 2)) * a.SaveSteps
	if a.SaveTotalLimit == 1 {
		oldest = a.end
	}
	if a.epochs(oldest) > healthy[1] {
		a.say("save_total_limit", "retain: spread drops none that is healthy while one that is not is kept",
			"retain last keeps %d checkpoints, from epoch %.1f on: those within the healthy epochs %g to %g are dropped", a.SaveTotalLimit, a.epochs(oldest), healthy[0], healthy[1])
	}
}

func (a *adviser) warmup() {
	switch warmup := a.settings.Schedule.Warmup; {
	case a.end > 0 && warmup >= a.end:
		a.say("warmup_steps", "", "warmup_steps %d is longer than the training of %d steps: the learning rate never gets to its peak", warmup, a.end)
	case a.end > 0 && 2*warmup > a.end:
		a.say("warmup_steps", "", "warmup_steps %d is more than half of the training of %d steps", warmup, a.end)
	case a.end == 0 && a.epochs(warmup) > 2:
		a.say("warmup_steps", "", "warmup_steps %d is %.1f epochs", warmup, a.epochs(warmup))
	}
}

// length looks at where training ends.
func (a *adviser) length() {
	schedule, healthy := a.settings.Schedule, a.Bands.Healthy.Epoch
	if schedule.Kind != optim.Constant && schedule.Horizon > 0 {
		if wanted, why := (Plan{MaxSteps: a.MaxSteps, MaxEpochs: a.MaxEpochs}).end(optim.Schedule{Kind: optim.Constant}, a.per); wanted > schedule.Horizon {
			a.say("schedule_steps", "", "%s is %d steps, but schedule_steps %d brings the learning rate to 0: training ends there", why, wanted, schedule.Horizon)
		}
	}
	if a.settings.BatchSize > a.samples {
		a.say("batch_size", "", "batch_size %d is more than the %d samples: every step takes all of them", a.settings.BatchSize, a.samples)
	}
	switch {
	case a.end == 0:
	case a.end < a.per:
		a.say(string(a.endsBy), fmt.Sprintf("an epoch has %d steps", a.per), "training ends after %d steps, %.2g of an epoch: %.0f %% of the records are never seen", a.end, a.epochs(a.end), 100*(1-a.epochs(a.end)))
	case healthy != nil && a.epochs(a.end) < healthy[0]:
		a.say(string(a.endsBy), "", "training ends after %.1f epochs, before the healthy ones begin (%g)", a.epochs(a.end), healthy[0])
	}
}

// bands looks for signs of overfitting that lie inside the healthy ranges.
func (a *adviser) bands() {
	h, o := a.Bands.Healthy, a.Bands.Overfitting
	if a.OnOverfit == Stop && !o.any() {
		a.say("on_overfit", "set one under health.overfitting", "on_overfit is stop, but no overfitting band is set: nothing is ever seen as overfitting")
	}
	inside := func(param string, bound *float64, above bool, healthy *Range) {
		if bound == nil || healthy == nil {
			return
		}
		if above && *bound < healthy[1] || !above && *bound > healthy[0] {
			a.say("health.overfitting."+param, "", "%s %g lies within what is called healthy, %g to %g: that part of it counts as overfitting", param, *bound, healthy[0], healthy[1])
		}
	}
	inside("loss_below", o.LossBelow, false, h.Loss)
	inside("accuracy_above", o.AccuracyAbove, true, h.Accuracy)
	inside("entropy_below", o.EntropyBelow, false, h.Entropy)
	inside("epoch_above", o.EpochAbove, true, h.Epoch)
}

// AdviseSpeed returns what makes no sense about the time budget, given the tokens of
// an epoch and a rate that was measured, in tokens a second.
func (p Plan) AdviseSpeed(tokens int, rate float64) []Advice {
	if p.TimeBudget == 0 || !(rate > 0) {
		return nil
	}
	epoch := time.Duration(float64(tokens) / rate * float64(time.Second))
	if epoch <= p.TimeBudget {
		return nil
	}
	return []Advice{{Param: "time_budget", Hint: "a longer budget, fewer or shorter records, or a faster machine",
		Text: fmt.Sprintf("time_budget %v is under one epoch: at %.0f tokens/s the %d tokens of an epoch take %v", p.TimeBudget, rate, tokens, epoch.Round(max(time.Millisecond, p.TimeBudget/100)))}}
}
