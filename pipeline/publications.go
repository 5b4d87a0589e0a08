package pipeline

import (
	"fmt"
	"path/filepath"
	"strings"

	"pipe/internal/document"
)

type publishNode struct {
	To          *document.Node `yaml:"to" required:"true" help:"a path, relative to the file"`
	UnlessWorse *document.Node `yaml:"unless_worse" help:"the input whose score.json says whether the output is at least as good as what is published"`
}

func (r *resolver) publications(s *Step, n *document.Node) {
	if n.Kind != document.Map {
		r.problems.Add(n.Problem("stage %q: publish: must be a map from output to path, got %s", s.Name, n.Describe()))
		return
	}
	for _, e := range n.Entries {
		if _, ok := s.Output(e.Key); !ok {
			r.problems.Add(n.KeyProblem(e, "stage %q: publish: there is no output %q", s.Name, e.Key).
				WithHint("outputs of %q are %s", s.Name, strings.Join(portNames(s.Outputs), ", ")))
			continue
		}
		to := e.Value
		var p publishNode
		if to.Kind == document.Map {
			if problems := document.Decode(to, &p, "publish."+e.Key+": key", to); len(problems) > 0 {
				r.addFor(s, problems)
				continue
			}
			to = p.To
		}
		to = r.scope.node(to, false)
		if to.Kind != document.String || to.Text == "" {
			r.problems.Add(to.Problem("stage %q: publish: %s must be a path, got %s", s.Name, e.Key, to.Describe()))
			continue
		}
		s.Publish = append(s.Publish, Publication{Port: e.Key, To: r.file.join(to, to.Text), UnlessWorse: r.unlessWorse(s, e.Key, p.UnlessWorse), at: to})
	}
}

// checkPublications refuses two outputs at one path, or one inside another.
func (r *resolver) checkPublications(steps []*Step) {
	owners := map[string]publisher{}
	told := map[*document.Node]bool{} // a matrix stage makes the same mistake many times
	for _, s := range steps {
		for _, p := range s.Publish {
			now := publisher{s, p}
			other, taken := owners[p.To]
			owners[p.To] = now
			if taken && !told[p.at] {
				told[p.at] = true
				r.sharedPlace(now, other)
			}
		}
	}
	for to, inner := range owners {
		for dir := filepath.Dir(to); ; dir = filepath.Dir(dir) {
			if outer, ok := owners[dir]; ok && dir != to && !told[inner.at] {
				told[inner.at] = true
				r.sharedPlace(inner, outer)
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
}

// publisher is a publication with its step.
type publisher struct {
	step *Step
	Publication
}

func (r *resolver) sharedPlace(a, b publisher) {
	p := a.at.Problem("stage %q: publish: %s is also where %s.%s goes", a.step.Name, a.To, b.step.Name, b.Port)
	if a.To != b.To {
		p = a.at.Problem("stage %q: publish: %s lies in %s, where %s.%s goes", a.step.Name, a.To, b.To, b.step.Name, b.Port)
	}
	if a.step.Matrix != nil && a.step.Stage() == b.step.Stage() {
		p = p.WithHint("each combination needs a place of its own, as in %s-%s", a.To, variables(a.step.Matrix))
	}
	r.problems.Add(p)
}

// variables refers to all variables of a matrix.
func variables(c *Combination) string {
	refs := make([]string, len(c.Names))
	for i, name := range c.Names {
		refs[i] = fmt.Sprintf("${matrix.%s}", name)
	}
	return strings.Join(refs, "-")
}
