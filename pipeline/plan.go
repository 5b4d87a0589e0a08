package pipeline

import (
	"time"

	"pipe/internal/document"
	"pipe/internal/problem"
	"pipe/stages"
)

// DefaultProfile is the name of the file as it stands.
const DefaultProfile = "default"

// Plan is a pipeline, resolved for one profile. It is immutable.
type Plan struct {
	Name    string
	Profile string
	File    string   // as it was given
	Set     []string // of Options
	Steps   []*Step  // every step after the steps that it reads from
	Hooks   Hooks

	// Remarks are what makes no sense about the file and is no mistake.
	Remarks problem.List
}

// Step is a stage bound to its kind.
type Step struct {
	Name      string
	Kind      *stages.Kind
	Params    stages.Params
	Inputs    []Input // in the order of the kind's ports; of an open kind, of the file
	Outputs   []stages.OutputPort
	Publish   []Publication
	Resources Resources

	// What the stage's programs see of the world outside.
	Env     []Variable
	Secrets []Variable
	Tools   []Tool

	Timeout time.Duration // of an attempt; 0 is none
	Retries Retries

	at *document.Node
}

// Input is what is connected to an input port: the output of another step or a
// source.
type Input struct {
	Port stages.InputPort

	From     *Step
	FromPort string

	// Source is a path, absolute or relative to the working directory, or a
	// reference with a scheme ("builtin:…").
	Source string

	at *document.Node
}

// Publication puts an output at a path of the workspace.
type Publication struct {
	Port string
	To   string // absolute or relative to the working directory

	// UnlessWorse is the input of the step whose scores decide whether what is
	// published may be replaced; nil if anything may. It always has a From.
	UnlessWorse *Input

	at *document.Node
}

// Resources are what a stage takes of the machine while it runs. They are never
// part of a key.
type Resources struct {
	CPU    int   // processors
	GPU    int   // devices
	Memory int64 // bytes
}

// Step returns the step of that name, or nil.
func (p *Plan) Step(name string) *Step {
	for _, s := range p.Steps {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Names lists the steps in order.
func (p *Plan) Names() []string {
	names := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		names[i] = s.Name
	}
	return names
}

// Upstream returns the steps that the named ones need, themselves included, in
// the plan's order. No names are all steps.
func (p *Plan) Upstream(names []string) []*Step {
	if len(names) == 0 {
		return p.Steps
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if !wanted[p.Steps[i].Name] {
			continue
		}
		for _, in := range p.Steps[i].Inputs {
			if in.From != nil {
				wanted[in.From.Name] = true
			}
		}
	}
	var steps []*Step
	for _, s := range p.Steps {
		if wanted[s.Name] {
			steps = append(steps, s)
		}
	}
	return steps
}

// Output returns the step's output port of that name.
func (s *Step) Output(name string) (stages.OutputPort, bool) {
	for _, o := range s.Outputs {
		if o.Name == name {
			return o, true
		}
	}
	return stages.OutputPort{}, false
}

// At is the place of the stage in the file, for problems.
func (s *Step) At() *document.Node { return s.at }

// At is the place of the input's value in the file.
func (in Input) At() *document.Node { return in.at }

// At is the place of the path in the file.
func (p Publication) At() *document.Node { return p.at }
