package runner

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

// sameAsBefore says that the newest run of this pipeline and profile in this folder
// had the same results, so that this one is no news to get, status and why.
func (r *Runner) sameAsBefore(sum Summary) bool {
	same := false
	EachPast(r.Store, func(p *Past) bool {
		if p.ID == r.id || p.Start.Pipeline != r.Plan.Name || p.Start.Profile != r.Plan.Profile || p.Start.Dir != r.Dir {
			return true
		}
		same = true
		for _, stage := range sum.Stages {
			before, ok := p.Result(stage.Stage)
			same = same && ok && before.Key == stage.Key && (before.Outcome == Ran || before.Outcome == Cached)
		}
		return false
	})
	return same
}
