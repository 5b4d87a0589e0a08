package runner

import (
	"errors"
	"slices"
	"strings"

	"pipe/internal/problem"
	"pipe/pipeline"
)

// selection is which steps a run is about.
type selection struct {
	steps     []*pipeline.Step        // that are looked at, in the plan's order
	known     map[*pipeline.Step]bool // of these: they are not to run, and must be known
	recompute map[*pipeline.Step]bool
	problems  problem.List
}

// selected works out the selection from Targets, Only, Downstream and Recompute, once.
// Targets bound the run from below; Only and Downstream choose among what is left.
func (r *Runner) selected() (*selection, problem.List) {
	if r.chosen == nil {
		r.chosen = r.choose()
	}
	return r.chosen, slices.Clone(r.chosen.problems)
}

func (r *Runner) choose() *selection {
	sel := &selection{steps: r.Plan.Steps}
	find := func(flag string, selectors []string) []*pipeline.Step {
		var all []*pipeline.Step
		for _, text := range selectors {
			steps, err := r.Plan.Select(text)
			if err != nil {
				p := problem.At(r.Plan.File, 0, 0, "%s%v", flag, err)
				if known := (*pipeline.SelectError)(nil); errors.As(err, &known) {
					p = p.WithHint("%s", known.Hint)
				}
				sel.problems.Add(p)
			}
			all = append(all, steps...)
		}
		return all
	}
	if targets := find("", r.Targets); len(r.Targets) > 0 {
		sel.steps = r.Plan.Upstream(targets)
	}
	chosen := slices.Concat(find("--only: ", r.Only), r.Plan.Downstream(find("--downstream: ", r.Downstream)))
	if len(r.Only)+len(r.Downstream) > 0 {
		sel.only(r, chosen)
	}
	sel.recompute = map[*pipeline.Step]bool{}
	for _, text := range r.Recompute {
		for _, s := range find("--recompute: ", []string{text}) {
			sel.recompute[s] = true
			if !slices.Contains(sel.steps, s) || sel.known[s] {
				sel.problems.Add(problem.At(r.Plan.File, 0, 0, "--recompute %s: the stage is not among those to run", s.Name))
			}
		}
	}
	return sel
}

// only leaves of the steps those that are chosen, and those that they read from.
func (sel *selection) only(r *Runner, chosen []*pipeline.Step) {
	among := make(map[*pipeline.Step]bool, len(sel.steps))
	for _, s := range sel.steps {
		among[s] = true
	}
	var left []*pipeline.Step
	for _, s := range chosen {
		if among[s] {
			left = append(left, s)
		}
	}
	if len(left) == 0 && len(sel.problems) == 0 {
		sel.problems.Add(problem.At(r.Plan.File, 0, 0, "nothing is left to run: none of what --only and --downstream choose is needed for %s", strings.Join(r.Targets, ", ")))
	}
	sel.steps = r.Plan.Upstream(left)
	sel.known = make(map[*pipeline.Step]bool, len(sel.steps))
	for _, s := range sel.steps {
		sel.known[s] = true
	}
	for _, s := range left {
		delete(sel.known, s)
	}
}

// steps are those that the run looks at.
func (r *Runner) steps() []*pipeline.Step {
	sel, _ := r.selected()
	return sel.steps
}

// mayRun says whether a step may be executed and its outputs published. Other steps of
// the run are there for what they made before.
func (r *Runner) mayRun(s *pipeline.Step) bool {
	sel, _ := r.selected()
	return !sel.known[s]
}

func (r *Runner) isRecomputed(s *pipeline.Step) bool {
	sel, _ := r.selected()
	return sel.recompute[s]
}
