package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"pipe/internal/document"
	"pipe/internal/stagename"
)

// index finds steps by name.
type index struct {
	steps  map[string]*Step
	stages map[string][]*Step // by the stage in the file, in the plan's order
}

func (p *Plan) names() index {
	if p.index == nil { // a Plan that a test made by hand
		return indexOf(p.Steps)
	}
	return p.index()
}

func indexOf(steps []*Step) index {
	x := index{steps: make(map[string]*Step, len(steps)), stages: map[string][]*Step{}}
	for _, s := range steps {
		x.steps[s.Name] = s
		x.stages[s.Stage()] = append(x.stages[s.Stage()], s)
	}
	return x
}

// Select returns the steps that a selector chooses, in the plan's order: one by its
// name, all of a stage by the stage's, train[seed=0] those of a matrix with that value.
// What chooses nothing is an error that says what there is.
func (p *Plan) Select(selector string) ([]*Step, error) {
	x := p.names()
	if s := x.steps[selector]; s != nil {
		return []*Step{s}, nil
	}
	sel, err := stagename.Parse(selector)
	if err != nil {
		return nil, err
	}
	all := x.stages[sel.Stage]
	switch {
	case len(all) == 0:
		return nil, &SelectError{fmt.Sprintf("there is no stage %q", sel.Stage), document.Suggest(sel.Stage, p.Stages())}
	case sel.Whole:
		return all, nil
	case all[0].Matrix == nil:
		return nil, &SelectError{fmt.Sprintf("stage %q has no matrix, and %q is none of its combinations", sel.Stage, selector), "write " + sel.Stage}
	case sel.All:
		return all, nil
	}
	chosen := slices.DeleteFunc(slices.Clone(all), func(s *Step) bool { return !s.Matrix.takes(sel) })
	if len(chosen) == 0 {
		return nil, &SelectError{fmt.Sprintf("no combination of stage %q is %s", sel.Stage, selector), "there are " + shortList(all)}
	}
	return chosen, nil
}

// SelectError is a selector that chooses nothing, with what would be right.
type SelectError struct{ Message, Hint string }

func (e *SelectError) Error() string { return e.Message }

// shortList names the first of several steps.
func shortList(steps []*Step) string {
	const most = 6
	var names []string
	for _, s := range steps {
		if len(names) == most {
			return fmt.Sprintf("%s, and %d more", strings.Join(names, ", "), len(steps)-most)
		}
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// Stages lists the stages of the file, each once, in the plan's order.
func (p *Plan) Stages() []string {
	var names []string
	seen := map[string]bool{}
	for _, s := range p.Steps {
		if name := s.Stage(); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// Upstream returns the steps that the given ones need, themselves included, in the
// plan's order.
func (p *Plan) Upstream(steps []*Step) []*Step {
	wanted := make(map[*Step]bool, len(steps))
	for _, s := range steps {
		wanted[s] = true
	}
	for _, s := range slices.Backward(p.Steps) {
		if wanted[s] {
			for i := range s.Inputs {
				for from := range s.Inputs[i].Makers() {
					wanted[from] = true
				}
			}
		}
	}
	return p.among(wanted)
}

// Downstream returns the given steps and those that read from them, through others
// too, in the plan's order.
func (p *Plan) Downstream(steps []*Step) []*Step {
	below := make(map[*Step]bool, len(steps))
	for _, s := range steps {
		below[s] = true
	}
	for _, s := range p.Steps {
		for i := range s.Inputs {
			for from := range s.Inputs[i].Makers() {
				if below[from] {
					below[s] = true
				}
			}
		}
	}
	return p.among(below)
}

func (p *Plan) among(wanted map[*Step]bool) []*Step {
	if len(wanted) == len(p.Steps) {
		return p.Steps
	}
	steps := make([]*Step, 0, len(wanted))
	for _, s := range p.Steps {
		if wanted[s] {
			steps = append(steps, s)
		}
	}
	return steps
}
