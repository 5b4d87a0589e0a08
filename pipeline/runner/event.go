package runner

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"pipe/cache"
	"pipe/stages"
)

// Event is something that happened in a run: a line of --json and of the run's
// history. Which fields are set depends on Type; docs/events.md lists them.
type Event struct {
	Type string    `json:"event"`
	Time time.Time `json:"time"`

	// run_start
	Run      string   `json:"run,omitempty"`
	Pipeline string   `json:"pipeline,omitempty"`
	Profile  string   `json:"profile,omitempty"`
	File     string   `json:"file,omitempty"`
	Dir      string   `json:"dir,omitempty"` // the working directory; of attempt_kept, the folder
	Set      []string `json:"set,omitempty"` // --set
	Targets  []string `json:"targets,omitempty"`
	// --only, --downstream
	Only       []string `json:"only,omitempty"`
	Downstream []string `json:"downstream,omitempty"`
	Stages     []string `json:"stages,omitempty"` // of the run, in order; of stopping, those that are waited for

	// stage_start, progress, log, retry, stage_end, publish, forecast
	Stage   string  `json:"stage,omitempty"`
	Key     string  `json:"key,omitempty"`
	Why     string  `json:"why,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`

	// attempt_kept: the folder of a failed attempt is dir; a line for a shell that does it again
	Command string `json:"command,omitempty"`

	// retry, stage_end
	Attempt  int `json:"attempt,omitempty"`  // which one begins, or was the last
	Attempts int `json:"attempts,omitempty"` // how many there are at most

	// stage_start, and stage_end of a hit: what the key is made of
	Inputs   map[string]*InputUse `json:"inputs,omitempty"`   // by port
	Params   map[string]string    `json:"params,omitempty"`   // parameter to its place
	Preimage *cache.Digest        `json:"preimage,omitempty"` // blob

	// progress
	Done        float64         `json:"done,omitempty"`
	Total       float64         `json:"total,omitempty"`
	Unit        string          `json:"unit,omitempty"`
	Rate        float64         `json:"rate,omitempty"`
	RateUnit    string          `json:"rate_unit,omitempty"`
	SecondsLeft float64         `json:"seconds_left,omitempty"`
	Text        string          `json:"text,omitempty"`
	Values      []stages.Value  `json:"values,omitempty"`
	Samples     []stages.Sample `json:"samples,omitempty"`

	// log
	Level    string  `json:"level,omitempty"` // "info", "warn", "error"
	Message  string  `json:"message,omitempty"`
	Fields   []Field `json:"fields,omitempty"`
	Replayed bool    `json:"replayed,omitempty"`

	// stage_end
	Outputs  map[string]cache.Object `json:"outputs,omitempty"`
	Withheld string                  `json:"withheld,omitempty"`
	Error    string                  `json:"error,omitempty"`

	// publish
	Port     string `json:"port,omitempty"`
	To       string `json:"to,omitempty"`
	Digest   string `json:"digest,omitempty"`
	Decision string `json:"decision,omitempty"` // "published", "unchanged", "restored", "kept", "withheld", "refused", "failed"; of a check: "same", "different", "other tier", "exempt", "failed"

	// What was compared for unless_worse; nil where nothing was.
	Score          *float64 `json:"score,omitempty"`
	PublishedScore *float64 `json:"published_score,omitempty"`
	New            bool     `json:"new,omitempty"` // kept: it was not decided before
}

// ProgressEvent tells how far a stage is. Time is left to the caller. Figures that JSON
// cannot hold are left out: they are not worth a run.
func ProgressEvent(stage string, p stages.Progress) Event {
	values := slices.DeleteFunc(slices.Clone(p.Values), func(v stages.Value) bool { return math.IsNaN(v.Value) || math.IsInf(v.Value, 0) })
	return Event{Type: "progress", Stage: stage, Done: p.Done, Total: p.Total, Unit: p.Unit, Rate: p.Rate, RateUnit: p.RateUnit,
		SecondsLeft: p.Left.Seconds(), Text: p.Text, Values: values, Samples: p.Samples}
}

// Field is a named value of a log entry.
type Field struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// fieldsOf pairs up a Logger's arguments. What JSON cannot hold becomes text, so
// that the entry that tells of a NaN is not lost.
func fieldsOf(args []any) []Field {
	var fields []Field
	for i := 0; i+1 < len(args); i += 2 {
		fields = append(fields, Field{Name: fmt.Sprint(args[i]), Value: plainValue(args[i+1])})
	}
	return fields
}

func plainValue(v any) any {
	switch x := v.(type) {
	case nil, bool, string, int, int32, int64, uint64:
		return x
	case float32:
		return plainValue(float64(x))
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Sprint(x)
		}
		return x
	case time.Duration:
		return x.Round(time.Millisecond).String()
	case []string:
		return x
	}
	return fmt.Sprint(v)
}

// Outcome is how a stage ended.
type Outcome string

const (
	Ran         Outcome = "ran"
	Cached      Outcome = "cached"
	Failed      Outcome = "failed"
	Skipped     Outcome = "skipped"
	Interrupted Outcome = "interrupted"
)

// StageResult is a stage's line in the summary.
type StageResult struct {
	Stage   string  `json:"stage"`
	Outcome Outcome `json:"outcome"`
	Key     string  `json:"key"`
	Why     string  `json:"why"`
	Seconds float64 `json:"seconds"`
	Check   string  `json:"check,omitempty"` // what --check-cache found, as a check event has it
}

// Checked counts the stages that were run once more and compared, and those of them that
// did not make the same bytes.
func (s Summary) Checked() (all, wrong int) {
	for _, st := range s.Stages {
		switch st.Check {
		case checkedSame, checkedTier:
			all++
		case checkedOther, checkedFailed:
			all, wrong = all+1, wrong+1
		}
	}
	return all, wrong
}

// Published is an output that is at its place after the run.
type Published struct {
	Stage    string `json:"stage"`
	Port     string `json:"port"`
	To       string `json:"to"`
	Digest   string `json:"digest"`
	Decision string `json:"decision"`
	Why      string `json:"why,omitempty"`

	busy   bool                            // it waits for what another run computes
	healed *Published                      // what was there had been changed, and was restored
	note   func(ctx context.Context) error // a decision to be remembered once it was told; may be nil
}

// Summary is the last event of a run.
type Summary struct {
	Type      string        `json:"event"` // "summary"
	Time      time.Time     `json:"time"`
	Run       string        `json:"run,omitempty"`
	Exit      int           `json:"exit"`
	Stages    []StageResult `json:"stages"`
	Published []Published   `json:"published"`
	Kept      []Published   `json:"kept,omitempty"` // what was not published, because what is there stays
	Error     string        `json:"error,omitempty"`
}

// Sink takes events as they happen. It is called by one goroutine at a time.
type Sink interface {
	Event(e Event)
	Summary(s Summary)
}
