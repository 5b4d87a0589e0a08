package train

import "fmt"

// Range is a closed interval.
type Range [2]float64

// side is -1 below the range, 1 above it, else 0. No range holds everything.
func (r *Range) side(x float64) int {
	switch {
	case r == nil:
		return 0
	case x < r[0]:
		return -1
	case x > r[1]:
		return 1
	}
	return 0
}

// Bands say what a healthy training looks like and what overfitting does. Any of
// them may be nil: then it says nothing. What is normal depends on base and data.
type Bands struct {
	Healthy     Healthy     `json:"healthy"`
	Overfitting Overfitting `json:"overfitting"`
}

// Healthy are the ranges that a trained adapter's figures should lie in.
type Healthy struct {
	Loss     *Range `json:"loss,omitempty"`
	Accuracy *Range `json:"accuracy,omitempty"`
	Entropy  *Range `json:"entropy,omitempty"`
	Epoch    *Range `json:"epoch,omitempty"`
}

// Overfitting are signs of learning by heart; one of them is enough.
type Overfitting struct {
	LossBelow     *float64 `json:"loss_below,omitempty"`
	AccuracyAbove *float64 `json:"accuracy_above,omitempty"`
	EntropyBelow  *float64 `json:"entropy_below,omitempty"`
	EpochAbove    *float64 `json:"epoch_above,omitempty"`
}

// Health is the state of a training as its bands see it.
type Health string

const (
	Unknown Health = ""        // no band says anything, or there are too few steps yet
	Warming Health = "warming" // something is still on the near side of a healthy range: loss, entropy above, accuracy, epoch below
	InBand  Health = "healthy" // everything lies in its range
	Past    Health = "past"    // something is beyond its range, but no sign of overfitting
	Overfit Health = "overfitting"
)

// Diagnose judges smoothed figures behind an epoch. For Overfit, signs says why:
// "accuracy 0.953 above 0.9".
func (b Bands) Diagnose(f Figures, epoch float64) (state Health, signs []string) {
	sign := func(what string, x float64, bound *float64, above bool) {
		switch {
		case bound == nil:
		case above && x > *bound:
			signs = append(signs, fmt.Sprintf("%s %.3g above %g", what, x, *bound))
		case !above && x < *bound:
			signs = append(signs, fmt.Sprintf("%s %.3g below %g", what, x, *bound))
		}
	}
	o, h := b.Overfitting, b.Healthy
	sign("loss", f.Loss, o.LossBelow, false)
	sign("accuracy", f.Accuracy, o.AccuracyAbove, true)
	sign("entropy", f.Entropy, o.EntropyBelow, false)
	sign("epoch", epoch, o.EpochAbove, true)
	if len(signs) > 0 {
		return Overfit, signs
	}
	if h == (Healthy{}) {
		return Unknown, nil
	}
	// -1 where training has not got to the range yet, 1 where it is through it.
	state = InBand
	for _, side := range []int{-h.Loss.side(f.Loss), h.Accuracy.side(f.Accuracy), -h.Entropy.side(f.Entropy), h.Epoch.side(epoch)} {
		switch {
		case side < 0:
			return Warming, nil
		case side > 0:
			state = Past
		}
	}
	return state, nil
}

// any says whether one of the signs is set.
func (o Overfitting) any() bool { return o != Overfitting{} }

// window smooths figures: a mean, by supervised tokens, over the last steps. It
// spans the steps between two checkpoints, but no more than an epoch, and says
// nothing before it is full.
type window struct {
	length int
	steps  []sums
}

// windowLength is the number of steps that figures are smoothed over.
func windowLength(saveSteps, stepsPerEpoch int) int {
	if saveSteps == 0 {
		return stepsPerEpoch
	}
	return min(saveSteps, stepsPerEpoch)
}

func (w *window) add(f Figures) {
	n := float64(f.Supervised)
	w.steps = append(w.steps, sums{Loss: f.Loss * n, Correct: f.Accuracy * n, Entropy: f.Entropy * n, Count: f.Supervised})
	if extra := len(w.steps) - w.length; extra > 0 {
		w.steps = append(w.steps[:0], w.steps[extra:]...)
	}
}

// figures returns the means, and whether the window is full.
func (w *window) figures() (Figures, bool) {
	var total sums
	for _, s := range w.steps {
		total.join(s)
	}
	return total.figures(), len(w.steps) == w.length
}
