package pipeline

import (
	"regexp"
	"strings"

	"pipe/internal/document"
	"pipe/internal/problem"
	"pipe/stages"
)

// reference is ${…}, or $${ which stands for a literal ${.
var reference = regexp.MustCompile(`\$\$\{|\$\{([^}]*)\}`)

// scope resolves references to params, ${pipeline} and ${profile}.
type scope struct {
	pipeline, profile string
	params            *document.Node

	resolving map[string]bool // params being resolved, to find circles
	resolved  map[string]*document.Node
	problems  *problem.List
}

func newScope(pipeline, profile string, params *document.Node, problems *problem.List) *scope {
	return &scope{pipeline: pipeline, profile: profile, params: params,
		resolving: map[string]bool{}, resolved: map[string]*document.Node{}, problems: problems}
}

// node replaces the references in n, deep. ports says that ${in.…} and ${out.…} are
// left for the stage kind, and that values are escaped so that none can pass for one
// (stages.LiteralDollar).
func (s *scope) node(n *document.Node, ports bool) *document.Node {
	switch n.Kind {
	case document.String:
		return s.text(n, ports)
	case document.List:
		c := *n
		c.Items = make([]*document.Node, len(n.Items))
		for i, item := range n.Items {
			c.Items[i] = s.node(item, ports)
		}
		return &c
	case document.Map:
		c := *n
		c.Entries = make([]document.Entry, len(n.Entries))
		for i, e := range n.Entries {
			c.Entries[i] = document.Entry{Key: e.Key, Pos: e.Pos, Value: s.node(e.Value, ports)}
		}
		return &c
	}
	return n
}

func (s *scope) text(n *document.Node, ports bool) *document.Node {
	if !strings.Contains(n.Text, "${") {
		return n
	}
	if m := reference.FindStringSubmatch(n.Text); m != nil && m[0] == n.Text && m[1] != "" && !isPort(m[1], ports) {
		if value := s.lookup(n, m[1]); value != nil {
			if ports && value.Kind == document.String {
				return document.NewString(escape(value.Text), value)
			}
			return value
		}
		return n
	}
	text := reference.ReplaceAllStringFunc(n.Text, func(m string) string {
		if m == "$${" {
			if ports {
				return m
			}
			return "${"
		}
		name := m[2 : len(m)-1]
		if isPort(name, ports) {
			return m
		}
		value := s.lookup(n, name)
		switch {
		case value == nil:
			return m
		case value.Kind == document.List || value.Kind == document.Map || value.Kind == document.Null:
			s.problems.Add(n.Problem("${%s} is %s; inside a longer string it must be a scalar", name, value.Describe()))
			return m
		case ports:
			return escape(value.Text)
		}
		return value.Text
	})
	return document.NewString(text, s.origin(n, ports))
}

// origin is where a text stands for the purpose of paths: that of its first
// reference if the text begins with one that was set on the command line.
func (s *scope) origin(n *document.Node, ports bool) *document.Node {
	at := reference.FindStringSubmatchIndex(n.Text)
	if at == nil || at[0] != 0 || at[2] < 0 || isPort(n.Text[at[2]:at[3]], ports) {
		return n
	}
	if name, ok := strings.CutPrefix(n.Text[at[2]:at[3]], "params."); ok {
		if value := s.resolved[name]; value != nil && value.File() != n.File() {
			return value
		}
	}
	return n
}

func isPort(name string, ports bool) bool {
	return ports && (strings.HasPrefix(name, "in.") || strings.HasPrefix(name, "out."))
}

// escape keeps a value's dollar signs from being taken for the beginning of a port's
// reference, with what stands behind the value too.
func escape(s string) string { return strings.ReplaceAll(s, "$", stages.LiteralDollar) }

// lookup returns the value of a reference that stands in n, or nil after adding a
// problem.
func (s *scope) lookup(n *document.Node, name string) *document.Node {
	switch {
	case name == "pipeline":
		return document.NewString(s.pipeline, n)
	case name == "profile":
		return document.NewString(s.profile, n)
	case strings.HasPrefix(name, "params."):
		return s.param(n, strings.TrimPrefix(name, "params."))
	}
	p := n.Problem("${%s} means nothing here", name)
	p.Hint = "known are ${params.NAME}, ${pipeline} and ${profile}; ${STAGE.OUTPUT} stands alone, under in:"
	s.problems.Add(p)
	return nil
}

func (s *scope) param(n *document.Node, name string) *document.Node {
	if value, ok := s.resolved[name]; ok {
		return value
	}
	value := s.params.Get(name)
	if value == nil {
		s.problems.Add(n.Problem("there is no parameter %q", "params."+name).WithHint("%s", document.Suggest(name, keys(s.params))))
		return nil
	}
	if s.resolving[name] {
		s.problems.Add(value.Problem("parameter %q refers to itself", "params."+name))
		return nil
	}
	s.resolving[name] = true
	value = s.node(value, false)
	delete(s.resolving, name)
	s.resolved[name] = value
	return value
}
