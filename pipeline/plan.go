package pipeline

import (
	"iter"
	"time"

	"pipe/internal/document"
	"pipe/internal/problem"
	"pipe/internal/stagename"
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
	Totals  Totals   // what the file declares that there is to share out
	Hooks   Hooks
	hookAt  map[string]*document.Node // by the name of the hook

	// Remarks are what makes no sense about the file and is no mistake.
	Remarks problem.List

	index func() index // found once, when it is first asked for
}

// Step is a stage bound to its kind; of a stage with a matrix, one combination of it.
type Step struct {
	Name      string
	Matrix    *Combination // nil without a matrix
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

// Input is what is connected to an input port: the output of another step, those of
// combinations of a matrix stage gathered in a folder, or a source.
type Input struct {
	Port stages.InputPort

	From     *Step
	FromPort string

	// Gathered are the steps whose outputs FromPort come together in one folder, each
	// under the values in its name; From is then nil. The list is shared.
	Gathered []*Step
	selector string // by which they were chosen, as in train[*]

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

// Step returns the step of that name, or nil.
func (p *Plan) Step(name string) *Step { return p.names().steps[name] }

// Names lists the steps in order.
func (p *Plan) Names() []string {
	names := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		names[i] = s.Name
	}
	return names
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

// Stage is the name of the step's stage in the file.
func (s *Step) Stage() string { return stagename.Base(s.Name) }

// IsSource says whether no step makes what the input reads.
func (in *Input) IsSource() bool { return in.From == nil && in.Gathered == nil }

// Makers are the steps that make what the input reads.
func (in *Input) Makers() iter.Seq[*Step] {
	return func(yield func(*Step) bool) {
		if in.From != nil && !yield(in.From) {
			return
		}
		for _, s := range in.Gathered {
			if !yield(s) {
				return
			}
		}
	}
}

// Output names what the input reads of other steps: "train.data", "train[*].data".
func (in *Input) Output() string {
	switch {
	case in.From != nil:
		return in.From.Name + "." + in.FromPort
	case in.Gathered != nil:
		return in.selector + "." + in.FromPort
	}
	return ""
}

// At is the place of the stage in the file, for problems.
func (s *Step) At() *document.Node { return s.at }

// At is the place of the input's value in the file.
func (in Input) At() *document.Node { return in.at }

// At is the place of the path in the file.
func (p Publication) At() *document.Node { return p.at }
