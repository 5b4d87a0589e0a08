package pipeline

import (
	"regexp"
	"slices"
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
	matrix            *Combination // of the step that is being resolved; nil without a matrix

	unread  *document.Node             // instead of it the stage's matrix:, if that could not be read
	unknown map[document.Position]bool // of what refers to it

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
		return s.list(n, ports)
	case document.Map:
		return s.dictionary(n, ports)
	}
	return n
}

// list and dictionary copy what changes and no more: the steps of a matrix share the
// rest.
func (s *scope) list(n *document.Node, ports bool) *document.Node {
	c := n
	for i, item := range n.Items {
		value := s.node(item, ports)
		if value == item {
			continue
		}
		if c == n {
			whole := *n
			whole.Items = slices.Clone(n.Items)
			c = &whole
		}
		c.Items[i] = value
	}
	return c
}

func (s *scope) dictionary(n *document.Node, ports bool) *document.Node {
	c := n
	for i, e := range n.Entries {
		value := s.node(e.Value, ports)
		if value == e.Value {
			continue
		}
		if c == n {
			whole := *n
			whole.Entries = slices.Clone(n.Entries)
			c = &whole
		}
		c.Entries[i].Value = value
	}
	return c
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
	name := n.Text[at[2]:at[3]]
	value := s.matrix.value(strings.TrimPrefix(name, "matrix."))
	if param, ok := strings.CutPrefix(name, "params."); ok {
		value = s.resolved[param]
	}
	if value != nil && value.File() != n.File() {
		return value
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
	case strings.HasPrefix(name, "matrix."):
		return s.variable(n, strings.TrimPrefix(name, "matrix."))
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
	matrix, unread := s.matrix, s.unread
	s.matrix, s.unread = nil, nil // a parameter is the same in every step
	value = s.node(value, false)
	s.matrix, s.unread = matrix, unread
	delete(s.resolving, name)
	s.resolved[name] = value
	return value
}

// variable returns the value that a matrix variable has in the step.
func (s *scope) variable(n *document.Node, name string) *document.Node {
	if value := s.matrix.value(name); value != nil {
		return value
	}
	switch {
	case s.unread != nil && (s.unread.Kind != document.Map || s.unread.Get(name) != nil):
		s.unknown[n.Pos] = true
	case s.unread != nil:
		s.problems.Add(n.Problem("the matrix has no variable %q", name).WithHint("%s", document.Suggest(name, keys(s.unread))))
	case s.matrix == nil:
		s.problems.Add(n.Problem("${matrix.%s} means nothing here", name).WithHint("it stands in a stage that has a matrix: matrix: { %s: [ … ] }", name))
	default:
		s.problems.Add(n.Problem("the matrix has no variable %q", name).WithHint("%s", document.Suggest(name, s.matrix.Names)))
	}
	return nil
}
