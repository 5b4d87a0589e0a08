package pipeline

import (
	"slices"

	"pipe/internal/document"
	"pipe/internal/problem"
)

// unlessWorse resolves the unless_worse: of a publication: an input that another
// stage makes, and in which the runner will look for score.json. n is nil where
// there is none. A mistake is reported, and nil returned.
func (r *resolver) unlessWorse(s *Step, output string, n *document.Node) *Input {
	if n == nil {
		return nil
	}
	n = r.scope.node(n, false)
	wrong := func(format string, args ...any) problem.Problem {
		return n.Problem("stage %q: publish: %s: unless_worse: "+format, append([]any{s.Name, output}, args...)...)
	}
	if n.Kind != document.String {
		r.problems.Add(wrong("must be the name of an input, got %s", n.Describe()))
		return nil
	}
	names := make([]string, len(s.Inputs))
	for i, in := range s.Inputs {
		names[i] = in.Port.Name
	}
	i := slices.Index(names, n.Text)
	if i < 0 {
		if r.templates[s.Name].raw.In.Get(n.Text) == nil { // else what is wrong with it was said
			r.problems.Add(wrong("the stage has no input %q", n.Text).WithHint("%s", document.Suggest(n.Text, names)))
		}
		return nil
	}
	in := s.Inputs[i]
	if in.Gathered != nil {
		r.problems.Add(wrong("input %q gathers %s, and no one of them made the score", n.Text, in.Output()).
			WithHint("connect a stage to it that looks at all of them and writes one score.json"))
		return nil
	}
	if in.From == nil {
		r.problems.Add(wrong("input %q is %s, and no output of a stage", n.Text, in.Source).
			WithHint(`connect it to what a stage makes that writes score.json, as in: in: { %s: "${sanity-sweep.report}" }`, n.Text))
		return nil
	}
	if o, _ := in.From.Output(in.FromPort); !in.From.Kind.Open && !o.Folder {
		r.problems.Add(wrong("%s.%s is a file, and score.json lies in a folder", in.From.Name, in.FromPort))
		return nil
	}
	if o, _ := s.Output(output); !s.Kind.Open && !o.Folder {
		r.problems.Add(wrong("output %q is a file, of which no versions are kept", output).WithHint("only a folder can be promoted and rolled back"))
		return nil
	}
	return &in
}
