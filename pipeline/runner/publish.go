package runner

import (
	"context"
	"fmt"
	"slices"

	"pipe/cache"
	"pipe/internal/faultfs"
	"pipe/pipeline"
)

// publish puts an output at its place, unless it is there already or must not be
// there. gate is whether this run decided so.
func (r *Runner) publish(ctx context.Context, s *pipeline.Step, p pipeline.Publication, record *cache.Record) (done Published, gate bool, err error) {
	done = Published{Stage: s.Name, Port: p.Port, To: p.To}
	v := verdict{decision: wasWithheld, why: record.Withheld}
	if o, made := record.Outputs[p.Port]; made && record.Withheld == "" {
		done.Digest = o.Digest.String()
		if err = checkPlace(p.To, o.Kind == cache.Tree); err == nil {
			switch {
			case o.Kind == cache.Tree:
				v, err = r.promote(ctx, s, p, o, record)
			case p.UnlessWorse != nil:
				err = fmt.Errorf("unless_worse: %s is a file, of which no versions are kept", p.Port)
			default:
				v.decision, err = r.publishFile(ctx, o, p.To)
			}
		}
	}
	switch {
	case err != nil && (ctx.Err() != nil || r.stopped()):
		return done, false, err // the run ends, and tells of that
	case isBusy(err):
		v, err = verdict{decision: wasWithheld, why: err.Error()}, nil
		done.busy = true
	}
	if v.healed != "" {
		done.healed = &Published{Stage: s.Name, Port: p.Port, To: p.To, Digest: v.healed, Decision: wasRestored}
		r.emit(Event{Type: "publish", Stage: s.Name, Port: p.Port, To: p.To, Digest: v.healed, Decision: wasRestored})
	}
	e := Event{Type: "publish", Stage: s.Name, Port: p.Port, To: p.To, Digest: done.Digest,
		Decision: v.decision, Why: v.why, Score: v.score, PublishedScore: v.against, New: v.fresh}
	if err != nil {
		e.Error = err.Error()
		if v.decision != wasRefused {
			e.Decision = hasFailed
		}
	}
	r.emit(e)
	done.Decision, done.Why, done.note = e.Decision, v.why, v.note
	return done, v.fresh, err
}

// publishFile puts an ordinary file at a place.
func (r *Runner) publishFile(ctx context.Context, o cache.Object, to string) (string, error) {
	decision := wasPublished
	if info, err := faultfs.Lstat(to); err == nil && info.Mode().IsRegular() {
		if pin, err := r.Store.PinPath(ctx, to, nil); err == nil {
			if pin.Object.Digest == o.Digest {
				return wasUnchanged, nil
			}
		}
		if r.publishedBefore(to, o.Digest.String()) {
			decision = wasRestored
		}
	}
	if err := r.Store.Verify(o); err != nil {
		return "", err
	}
	return decision, r.Store.Place(o, to)
}

// publishedBefore says whether the last run that published at a place put this
// digest there, so that what is there now was changed by somebody else.
func (r *Runner) publishedBefore(to, digest string) bool {
	before := false
	EachPast(r.Store, func(p *Past) bool {
		for _, e := range slices.Backward(p.Events) {
			if e.Type == "publish" && e.To == to && p.Start.Dir == r.Dir && p.ID != r.id {
				before = e.Digest == digest
				return false
			}
		}
		return true
	})
	return before
}

// workspaceInput is an input that lies in the workspace, of one of the steps that read it.
type workspaceInput struct {
	pipeline.Input
	step *pipeline.Step
}

// workspaceInputs lists the plan's, each once: the stages of a matrix read the same ones.
func (r *Runner) workspaceInputs() []workspaceInput {
	type use struct {
		source string
		whole  bool
	}
	seen := map[use]bool{}
	var all []workspaceInput
	for _, s := range r.Plan.Steps {
		for _, in := range s.Inputs {
			u := use{in.Source, len(in.Port.Files) == 0}
			if in.IsSource() && !pipeline.HasScheme(in.Source) && !seen[u] {
				seen[u] = true
				all = append(all, workspaceInput{in, s})
			}
		}
	}
	return all
}
