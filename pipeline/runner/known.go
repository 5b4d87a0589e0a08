package runner

import (
	"context"
	"path/filepath"

	"pipe/internal/problem"
	"pipe/pipeline"
)

// missing are steps whose results a run needs and does not know, of one stage of the file.
type missing struct {
	stage string
	steps []Forecast
}

// CheckKnown finds steps whose results a run with Only or Downstream needs and does not
// know. The error is a problem.List, with one command that makes them all.
func (r *Runner) CheckKnown(ctx context.Context) error {
	sel, _ := r.selected()
	if len(sel.known) == 0 {
		return nil
	}
	forecasts, err := r.Forecast(ctx)
	if err != nil {
		return err
	}
	var unknown []Forecast // but for those that only wait for others of them
	wanted := map[*pipeline.Step]bool{}
	covered := map[*pipeline.Step]bool{} // made on the way to another
	for _, f := range forecasts {
		if !sel.known[f.Step] || f.Prospect == WouldHit {
			continue
		}
		wanted[f.Step] = true
		waits := false
		for i := range f.Step.Inputs {
			for from := range f.Step.Inputs[i].Makers() {
				if wanted[from] {
					waits, covered[from] = true, true
				}
			}
		}
		if !waits {
			unknown = append(unknown, f)
		}
	}
	var last []Forecast
	for _, f := range forecasts {
		if wanted[f.Step] && !covered[f.Step] {
			last = append(last, f)
		}
	}
	var problems problem.List
	for _, m := range byStage(unknown) {
		problems.Add(r.notKnown(m))
	}
	if problems.Err() == nil { // else they are sorted, and the hint stands at their end
		return nil
	}
	problems[len(problems)-1].Hint = "run what is missing first: " + r.runLine(append(r.selectorsOf(last), r.storeWords()...)...)
	return r.maskProblems(problems)
}

func byStage(steps []Forecast) []missing {
	var list []missing
	at := map[string]int{}
	for _, f := range steps {
		stage := f.Step.Stage()
		i, there := at[stage]
		if !there {
			i = len(list)
			at[stage] = i
			list = append(list, missing{stage: stage})
		}
		list[i].steps = append(list[i].steps, f)
	}
	return list
}

func (r *Runner) notKnown(m missing) problem.Problem {
	first := m.steps[0]
	if first.Step.Matrix == nil {
		return first.Step.At().Problem("stage %q: its result is not known (%s), and it is not among the stages to run", m.stage, first.Why)
	}
	all, _ := r.Plan.Select(m.stage)
	return first.Step.At().Problem("stage %q: %d of %d combinations are needed, not known and not among the stages to run, such as %s (%s)",
		m.stage, len(m.steps), len(all), first.Step.Name, first.Why)
}

// mostNamed is how many combinations of a stage a hint names before it names the stage.
const mostNamed = 6

func (r *Runner) selectorsOf(steps []Forecast) []string {
	var list []string
	for _, m := range byStage(steps) {
		if all, _ := r.Plan.Select(m.stage); len(m.steps) == len(all) || len(m.steps) > mostNamed {
			list = append(list, m.stage)
			continue
		}
		for _, f := range m.steps {
			list = append(list, f.Step.Name)
		}
	}
	return list
}

// storeWords are the flag that says where the store is, where it must be said.
func (r *Runner) storeWords() []string {
	dir := r.Store.Dir()
	if near, err := filepath.Rel(r.Dir, dir); err == nil && filepath.IsAbs(dir) {
		dir = near
	}
	if dir == ".pipe" {
		return nil
	}
	return []string{"--store", dir}
}
