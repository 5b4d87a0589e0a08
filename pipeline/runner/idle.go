package runner

import "slices"

// Happened says whether an event tells of something that a run did or failed to do:
// a stage that was not cached, a place that was changed.
func (e Event) Happened() bool {
	switch e.Type {
	case "stage_start":
		return true
	case "stage_end":
		return e.Outcome != Cached
	case "check":
		return e.Decision != checkedSame && e.Decision != checkedExempt
	case "publish":
		return e.Decision == "failed" || changedPlace(e.Decision)
	}
	return false
}

func changedPlace(decision string) bool { return decision == "published" || decision == "restored" }

// Idle says that nothing happened in the run: every stage was cached, every place
// is as it was, and all is well.
func (s Summary) Idle() bool {
	if s.Exit != 0 || s.Error != "" {
		return false
	}
	for _, stage := range s.Stages {
		if stage.Outcome != Cached {
			return false
		}
	}
	for _, p := range s.Published {
		if changedPlace(p.Decision) {
			return false
		}
	}
	return true
}

// before returns the newest run before this one of this file and profile in this folder,
// or nil.
func (r *Runner) before() *Past {
	var found *Past
	EachPast(r.Store, func(p *Past) bool {
		if p.ID != r.id && p.Start.Pipeline == r.Plan.Name && p.Start.Profile == r.Plan.Profile && p.Start.Dir == r.Dir && p.Start.File == r.Plan.File {
			found = p
		}
		return found == nil
	})
	return found
}

// sameAs says that a run had the results that this one had, so that this one is no news
// to get, status and why.
func (s Summary) sameAs(p *Past) bool {
	if p == nil {
		return false
	}
	ended := map[string]*Event{} // by stage
	for i := range p.Events {
		if e := &p.Events[i]; e.Type == "stage_end" {
			ended[e.Stage] = e
		}
	}
	return !slices.ContainsFunc(s.Stages, func(stage StageResult) bool {
		before := ended[stage.Stage]
		return before == nil || before.Key != stage.Key || before.Outcome != Ran && before.Outcome != Cached
	})
}
