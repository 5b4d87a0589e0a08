package train

import "math"

// Checkpoint describes an adapter that was kept.
type Checkpoint struct {
	Step  int     `json:"step"`
	Epoch float64 `json:"epoch"`

	Figures // smoothed over the last steps

	HoldOut *Figures `json:"hold_out,omitempty"` // nil without hold-out samples
	Health  Health   `json:"health"`
	Signs   []string `json:"signs,omitempty"` // of overfitting
}

// Retention says which checkpoints give way to a new one.
type Retention string

const (
	// Spread keeps the checkpoints evenly spread over the run, but drops none
	// inside the healthy bands while one outside is kept.
	Spread Retention = "spread"
	Last   Retention = "last" // keeps the newest
	Best   Retention = "best" // keeps those with the lowest hold-out loss
)

// surplus returns the index of the checkpoint to drop from a list, rising by step,
// that is one too long. The newest always stays.
//
// Spread drops the one, of those that may go, whose neighbours lie closest
// together; among equals the earliest. So a run is thinned out from its beginning
// on, like the marks of a ruler that covers ever more.
func (r Retention) surplus(list []Checkpoint) int {
	old := list[:len(list)-1]
	drop := 0
	switch r {
	case Last:
	case Best:
		for i := range old {
			if old[i].holdOutLoss() > old[drop].holdOutLoss() {
				drop = i
			}
		}
	default:
		narrowest, dropHealthy := math.MaxInt, true
		for i, c := range old {
			gap := list[i+1].Step
			if i > 0 {
				gap -= list[i-1].Step
			}
			healthy := c.Health == InBand
			if healthy && !dropHealthy || healthy == dropHealthy && gap >= narrowest {
				continue
			}
			drop, narrowest, dropHealthy = i, gap, healthy
		}
	}
	return drop
}

// holdOutLoss is infinite where there is none.
func (c Checkpoint) holdOutLoss() float64 {
	if c.HoldOut == nil || math.IsNaN(c.HoldOut.Loss) {
		return math.Inf(1)
	}
	return c.HoldOut.Loss
}

// keep appends a checkpoint to a list and drops what is beyond limit (0 is none).
// It does not change the list that it was given.
func (r Retention) keep(list []Checkpoint, c Checkpoint, limit int) (kept, dropped []Checkpoint) {
	kept = append(append(kept, list...), c)
	for limit > 0 && len(kept) > limit {
		if len(kept) == 1 {
			break
		}
		i := r.surplus(kept)
		dropped = append(dropped, kept[i])
		kept = append(kept[:i:i], kept[i+1:]...)
	}
	return kept, dropped
}
