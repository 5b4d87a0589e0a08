package pipeline

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pipe/internal/document"
)

// Variable is an environment variable that a stage declares, by env: or secrets:.
type Variable struct {
	Name     string
	Optional bool // NAME?: it may be unset

	at *document.Node
}

// Tool is a program that a stage declares by tools:, as a name on PATH or an absolute
// path.
type Tool struct {
	Name string

	at *document.Node
}

// At is the place of the name in the file.
func (v Variable) At() *document.Node { return v.at }

// At is the place of the name in the file.
func (t Tool) At() *document.Node { return t.at }

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment reads what a stage declares of the world outside.
func (r *resolver) environment(s *Step, node *stageNode) {
	if s.Kind != nil && !s.Kind.Open {
		for key, n := range map[string]*document.Node{"env": node.Env, "secrets": node.Secrets, "tools": node.Tools} {
			if n != nil {
				r.problems.Add(n.Problem("stage %q: %s: stages of kind %q start no programs", s.Name, key, s.Kind.Name).
					WithHint("it belongs to stages of kind command"))
			}
		}
		return
	}
	s.Env = r.variables(s, "env", node.Env)
	s.Secrets = r.variables(s, "secrets", node.Secrets)
	for _, v := range s.Secrets {
		if slices.ContainsFunc(s.Env, func(e Variable) bool { return e.Name == v.Name }) {
			r.problems.Add(v.at.Problem("stage %q: secrets: %s stands under env, too, and would be part of the key", s.Name, v.Name).
				WithHint("take it out of env"))
		}
	}
	for _, item := range r.names(s, "tools", node.Tools) {
		t := Tool{Name: item.Text, at: item}
		switch {
		case t.Name == "" || strings.ContainsAny(t.Name, `/\`) && !filepath.IsAbs(t.Name):
			r.problems.Add(item.Problem("stage %q: tools: must be a program's name or its absolute path, got %s", s.Name, item.Describe()).
				WithHint("a script of the project is an input: in: { script: ./train.py }"))
		case slices.ContainsFunc(s.Tools, func(o Tool) bool { return o.Name == t.Name }):
			r.problems.Add(item.Problem("stage %q: tools: %s stands twice", s.Name, t.Name))
		default:
			s.Tools = append(s.Tools, t)
		}
	}
}

func (r *resolver) variables(s *Step, key string, n *document.Node) []Variable {
	var all []Variable
	for _, item := range r.names(s, key, n) {
		name, optional := strings.CutSuffix(item.Text, "?")
		switch {
		case !variableName.MatchString(name):
			r.problems.Add(item.Problem("stage %q: %s: must be a variable's name, got %s", s.Name, key, item.Describe()).
				WithHint("letters, digits and underscores, as in HF_TOKEN; a ? behind it says that it may be unset"))
		case strings.HasPrefix(name, "PIPE_") || name == "TMPDIR":
			r.problems.Add(item.Problem("stage %q: %s: %s is set by pipe", s.Name, key, name))
		case slices.ContainsFunc(all, func(v Variable) bool { return v.Name == name }):
			r.problems.Add(item.Problem("stage %q: %s: %s stands twice", s.Name, key, name))
		default:
			all = append(all, Variable{Name: name, Optional: optional, at: item})
		}
	}
	return all
}

// names are the items of a list of names; other items are problems.
func (r *resolver) names(s *Step, key string, n *document.Node) []*document.Node {
	if n == nil || n.Kind == document.Null {
		return nil
	}
	if n = r.scope.node(n, false); n.Kind != document.List {
		r.problems.Add(n.Problem("stage %q: %s: must be a list of names, got %s", s.Name, key, n.Describe()))
		return nil
	}
	var items []*document.Node
	for _, item := range n.Items {
		if item.Kind != document.String {
			r.problems.Add(item.Problem("stage %q: %s: must be a name, got %s", s.Name, key, item.Describe()))
			continue
		}
		items = append(items, item)
	}
	return items
}
