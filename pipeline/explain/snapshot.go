package explain

import (
	"slices"
	"strings"

	"pipe/cache"
	"pipe/pipeline/runner"
)

// snapshot is a pipeline's stages as one run had them, or as one would have them now.
type snapshot struct {
	run    *runner.Past // nil: now
	stages map[string]*instance
}

// instance is a stage in a snapshot.
type instance struct {
	outcome string // an Outcome, or a Prospect
	key     string // "" where upstream is not made yet
	why     string // as the run said it
	inputs  map[string]runner.InputUse
	params  map[string]string // parameter to its place
	outputs map[string]cache.Object

	description func() (cache.Value, error)
}

// past makes the snapshot of a run.
func past(store *cache.Store, p *runner.Past) *snapshot {
	s := &snapshot{run: p, stages: map[string]*instance{}}
	preimages := map[string]*cache.Digest{}
	for _, e := range p.Events {
		if e.Type != "stage_start" && e.Type != "stage_end" {
			continue
		}
		i := s.stages[e.Stage]
		if i == nil {
			i = &instance{outcome: string(runner.Interrupted)} // of a run that was killed
			s.stages[e.Stage] = i
		}
		if e.Inputs != nil {
			i.inputs = map[string]runner.InputUse{}
			for port, use := range e.Inputs {
				if use != nil {
					i.inputs[port] = *use
				}
			}
		}
		if e.Params != nil {
			i.params = e.Params
		}
		if e.Preimage != nil {
			preimages[e.Stage] = e.Preimage
		}
		i.key = e.Key
		if e.Why != "" {
			i.why = e.Why
		}
		if e.Type == "stage_end" {
			i.outcome, i.outputs = string(e.Outcome), e.Outputs
			if i.why == "" {
				i.why, _, _ = strings.Cut(e.Error, "\n")
			}
		}
	}
	for name, i := range s.stages {
		i.description = func() (cache.Value, error) {
			if d := preimages[name]; d != nil {
				if v, err := runner.ReadPreimage(store, *d); err == nil {
					return descriptionOf(v), nil
				}
			}
			v, err := runner.PreimageOf(store, i.key)
			return descriptionOf(v), err
		}
	}
	return s
}

func descriptionOf(preimage cache.Value) cache.Value {
	m, _ := preimage.(map[string]cache.Value)
	return m["description"]
}

// present makes the snapshot of what a run would do.
func present(forecasts []runner.Forecast) *snapshot {
	s := &snapshot{stages: map[string]*instance{}}
	for _, f := range forecasts {
		i := &instance{outcome: string(f.Prospect), key: f.Key, why: f.Why, inputs: f.Inputs, params: f.Step.Params.Places()}
		if f.Record != nil {
			i.outputs = f.Record.Outputs
		}
		i.description = func() (cache.Value, error) { return f.Describe(), nil }
		s.stages[f.Step.Name] = i
	}
	return s
}

// before returns the snapshot of the newest run of a pipeline and profile, older than
// the one called than ("": any), in which the stage ended in a result; nil if there
// is none.
func before(store *cache.Store, pipelineName, profile, stage, than string) (*snapshot, error) {
	var found *snapshot
	err := runner.EachPast(store, func(p *runner.Past) bool {
		if than != "" && p.ID >= than || p.Start.Pipeline != pipelineName || p.Start.Profile != profile || !slices.ContainsFunc(p.Events, endsWell(stage)) {
			return true
		}
		found = past(store, p)
		return false
	})
	return found, err
}

func endsWell(stage string) func(e runner.Event) bool {
	return func(e runner.Event) bool {
		return e.Type == "stage_end" && e.Stage == stage && (e.Outcome == runner.Ran || e.Outcome == runner.Cached)
	}
}

// Executed says whether a run executed a stage: neither found it in the store nor
// skipped it.
func Executed(p *runner.Past, stage string) bool {
	return slices.ContainsFunc(p.Events, func(e runner.Event) bool { return e.Type == "stage_start" && e.Stage == stage })
}
