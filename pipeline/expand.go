package pipeline

import (
	"slices"

	"pipe/internal/document"
	"pipe/internal/problem"
	"pipe/internal/stagename"
	"pipe/stages"
)

// template is a stage of the file, and the steps that it stands for: one, or one for
// each combination of its matrix. While they are resolved the steps have the stage's
// name, so that a mistake that all of them share is told once.
type template struct {
	name    string
	at      *document.Node
	raw     *stageNode
	matrix  *matrix // nil without
	steps   []*Step
	unread  *document.Node // the matrix, after a mistake in it: there is one step, not for the plan, to find others
	reading []int          // variables by which inputs are paired, as indexes of the matrix's names
}

// expand makes the steps of a stage out of what all of them share.
func (t *template) expand(shared Step) {
	if t.matrix == nil {
		t.steps = []*Step{&shared}
		return
	}
	all := make([]Step, len(t.matrix.combinations))
	t.steps = make([]*Step, len(all))
	for i, c := range t.matrix.combinations {
		all[i] = shared
		all[i].Matrix = c
		t.steps[i] = &all[i]
	}
}

// rename gives the steps of a matrix names of their own.
func (t *template) rename() {
	for _, s := range t.steps {
		if s.Matrix != nil {
			s.Name = stagename.Name(t.name, s.Matrix.name)
		}
	}
}

// each resolves a part of a stage for its steps: once for each choice of the values
// that the part mentions. Steps that agree in these share what comes of it.
func (r *resolver) each(t *template, mentions []int, resolve func(s *Step), share func(s, from *Step)) {
	if t.unread != nil {
		r.withoutValues(t, resolve)
		return
	}
	if t.matrix == nil {
		resolve(t.steps[0])
		return
	}
	done := map[string]*Step{}
	for _, s := range t.steps {
		key := s.Matrix.key(mentions)
		if from := done[key]; from != nil {
			share(s, from)
			continue
		}
		r.scope.matrix = s.Matrix
		resolve(s)
		done[key] = s
	}
	r.scope.matrix = nil
}

// withoutValues resolves a part of a stage whose matrix could not be read. What is wrong
// with a value that refers to it is not told: nobody knows the value.
func (r *resolver) withoutValues(t *template, resolve func(s *Step)) {
	before := len(r.problems)
	r.scope.unread, r.scope.unknown = t.unread, map[document.Position]bool{}
	resolve(t.steps[0])
	known := slices.DeleteFunc(slices.Clone(r.problems[before:]), func(p problem.Problem) bool {
		return r.scope.unknown[document.Position{Line: p.Line, Col: p.Col}]
	})
	r.problems = append(r.problems[:before], known...)
	r.scope.unread, r.scope.unknown = nil, nil
}

// mentions lists the variables of the stage's matrix to which nodes refer.
func (t *template) mentions(nodes ...*document.Node) []int {
	if t.matrix == nil {
		return nil
	}
	return t.matrix.mentioned(nodes...)
}

// resolveFrame, resolveInputs and resolveRest are the parts of a stage, in their order:
// the inputs of all stages are connected before any is looked at further.
func (r *resolver) resolveFrame(t *template) {
	raw := t.raw
	r.each(t, t.mentions(raw.Resources, raw.Env, raw.Secrets, raw.Tools, raw.Timeout, raw.Retries),
		func(s *Step) { r.frame(s, raw) },
		func(s, from *Step) {
			s.Resources, s.Timeout, s.Retries = from.Resources, from.Timeout, from.Retries
			s.Env, s.Secrets, s.Tools = from.Env, from.Secrets, from.Tools
		})
}

func (r *resolver) resolveInputs(t *template) {
	t.reading = r.pairings(t)
	r.each(t, union(t.mentions(t.raw.In), t.reading),
		func(s *Step) { r.connect(s) },
		func(s, from *Step) { s.Inputs = from.Inputs })
}

func (r *resolver) resolveRest(t *template) {
	r.each(t, t.mentions(t.raw.With),
		func(s *Step) { r.bind(s) },
		func(s, from *Step) { s.Params = from.Params })
	if t.raw.Publish == nil || t.steps[0].Kind == nil {
		return
	}
	r.each(t, union(t.mentions(t.raw.Publish), t.mentions(t.raw.In), t.reading),
		func(s *Step) { r.publications(s, t.raw.Publish) },
		func(s, from *Step) { s.Publish = from.Publish })
}

func union(lists ...[]int) []int {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// pairings lists the variables of a stage's matrix by which it is paired with the
// matrix stages that it reads from.
func (r *resolver) pairings(t *template) []int {
	if t.matrix == nil || t.raw.In == nil {
		return nil
	}
	var all []int
	for _, e := range t.raw.In.Entries {
		sel, _, ok := stageReference(e.Value)
		from := r.templates[sel.Stage]
		if !ok || from == nil || from.matrix == nil || sel.All {
			continue
		}
		for i, name := range t.matrix.names {
			if slices.Contains(from.matrix.names, name) && !slices.ContainsFunc(sel.Values, func(c stagename.Choice) bool { return c.Variable == name }) {
				all = append(all, i)
				t.matrix.used[name] = true
			}
		}
	}
	return all
}

// maxGathered bounds the connections of gathered inputs in a plan: a stage of 500
// combinations that gathers another of 1,000 makes half a million.
const maxGathered = 500_000

// gather connects a port to a folder of what several steps make.
func (r *resolver) gather(s *Step, port stages.InputPort, n *document.Node, c choice, output string) (Input, bool) {
	if port.Type == "file" {
		r.problems.Add(n.Problem("stage %q: in: the port %s reads a file, %s.%s is a folder with an entry for each combination", s.Name, port.Name, c.selector, output))
		return Input{}, false
	}
	before := r.gathers
	if r.gathers += len(c.steps); r.gathers > maxGathered {
		if before <= maxGathered {
			r.problems.Add(n.Problem("stage %q: in: %s: with this the pipeline gathers more than %d outputs in all", s.Name, port.Name, maxGathered))
		}
		return Input{}, false
	}
	return Input{Port: port, Gathered: c.steps, FromPort: output, selector: c.selector, at: n}, true
}

// remarks finds variables that make steps which do the same.
func (t *template) remarks() problem.List {
	var list problem.List
	if t.matrix == nil {
		return nil
	}
	for _, e := range t.matrix.entries {
		if !t.matrix.used[e.Key] {
			list.Add(t.matrix.at.KeyProblem(e, "stage %q: matrix: nothing in the stage refers to ${matrix.%s}: its stages do the same", t.name, e.Key).
				WithHint("take it away, or put the reference where it is meant to be"))
		}
	}
	return list
}
