package metrics

import (
	"bytes"
	"encoding/json"
)

// TimingName is the attachment with which a training says how long its steps took: JSON
// Lines of Timing. They are kept apart from the metrics, which must not hold a clock's.
const TimingName = "timing.jsonl"

// Timing is when a step ended.
type Timing struct {
	Step            int     `json:"step"`
	Seconds         float64 `json:"seconds"` // since training began
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// ParseTimings reads timings. Lines that tell of no step are passed over.
func ParseTimings(b []byte) []Timing {
	var all []Timing
	for line := range bytes.Lines(b) {
		var t Timing
		if json.Unmarshal(line, &t) == nil && t.Step > 0 {
			all = append(all, t)
		}
	}
	return all
}

// LastTiming is the last one, zero if there is none.
func LastTiming(b []byte) Timing {
	if all := ParseTimings(b); len(all) > 0 {
		return all[len(all)-1]
	}
	return Timing{}
}
