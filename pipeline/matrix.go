package pipeline

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"pipe/internal/document"
	"pipe/internal/stagename"
)

// Combination is a step's choice of values for the variables of its stage's matrix.
type Combination struct {
	Names  []string         // of the variables, sorted; shared by the stage's steps
	Values []*document.Node // scalars, in the order of Names

	texts []string // the values as they stand in names
	name  string   // what stands in the brackets of the step's name
}

// String is what stands in the brackets of the step's name: "learning_rate=0.001,seed=0".
func (c *Combination) String() string { return c.name }

// value returns the value of a variable, or nil.
func (c *Combination) value(name string) *document.Node {
	if c == nil {
		return nil
	}
	if i := slices.Index(c.Names, name); i >= 0 {
		return c.Values[i]
	}
	return nil
}

// key tells combinations apart by some of their variables.
func (c *Combination) key(variables []int) string {
	texts := make([]string, len(variables))
	for i, v := range variables {
		texts[i] = c.texts[v]
	}
	return keyOf(texts)
}

// keyOf joins values; none of them holds a comma (stagename.Value).
func keyOf(texts []string) string { return strings.Join(texts, ",") }

// takes says whether a selector of the stage chooses the combination.
func (c *Combination) takes(sel stagename.Selector) bool {
	if sel.Exact == c.name {
		return true
	}
	for _, choice := range sel.Values {
		if i := slices.Index(c.Names, choice.Variable); i < 0 || !choice.Is(c.texts[i]) {
			return false
		}
	}
	return len(sel.Values) > 0
}

// matrix is what matrix: of a stage stands for.
type matrix struct {
	names        []string // sorted
	at           *document.Node
	entries      []document.Entry // by variable
	combinations []*Combination
	used         map[string]bool // variables that something in the stage depends on

	groups map[string]map[string][]*Step // by chosen variables: key of values to steps
}

const (
	includeKey = "include"
	excludeKey = "exclude"

	// tooNear is how near to these a variable's name would be a misspelling of theirs.
	tooNear = 2

	maxItems = 1000 // of either: each is compared with every combination
)

// matrix reads the matrix: of a stage: a list of values for each variable, of which
// every combination is a step, less those that exclude: names, and those of include:.
// References in n are replaced. budget is how many steps the plan has room for. It returns
// nil after a mistake.
func (r *resolver) matrix(stage string, n *document.Node, budget int) *matrix {
	before := len(r.problems)
	if n.Kind != document.Map {
		r.problems.Add(n.Problem("stage %q: matrix: must be a map from a variable to its values, got %s", stage, n.Describe()).
			WithHint("as in: matrix: { seed: [0, 1] }"))
		return nil
	}
	m := &matrix{at: n, used: map[string]bool{}}
	values := map[string][]*document.Node{}
	for _, e := range n.Entries {
		if e.Key == includeKey || e.Key == excludeKey {
			continue
		}
		if !paramName.MatchString(e.Key) {
			r.problems.Add(n.KeyProblem(e, "stage %q: matrix: the name %q must be made of letters, digits, dashes and underscores", stage, e.Key))
			continue
		}
		if near := misspelt(e.Key); near != "" {
			r.problems.Add(n.KeyProblem(e, "stage %q: matrix: %q is no name for a variable: it is too near to %q", stage, e.Key, near).WithHint("did you mean %q?", near))
			continue
		}
		m.entries = append(m.entries, e)
		values[e.Key] = r.values(stage, e)
	}
	slices.SortFunc(m.entries, func(a, b document.Entry) int { return strings.Compare(a.Key, b.Key) })
	for _, e := range m.entries {
		m.names = append(m.names, e.Key)
	}
	if len(m.names) == 0 && len(r.problems) == before {
		r.problems.Add(n.Problem("stage %q: matrix: names no variable", stage).WithHint("as in: matrix: { seed: [0, 1] }; leave it out for a single stage"))
	}
	excluded, included := r.items(stage, m, excludeKey, n.Get(excludeKey)), r.items(stage, m, includeKey, n.Get(includeKey))
	if len(r.problems) > before || !r.fits(stage, m, values, budget) {
		return nil
	}
	m.product(values)
	r.exclude(stage, m, excluded)
	r.include(stage, m, included)
	if len(r.problems) > before {
		return nil
	}
	if len(m.combinations) == 0 {
		r.problems.Add(n.Problem("stage %q: matrix: exclude leaves no combination", stage))
		return nil
	}
	return m
}

// misspelt returns the key that stands beside variables which a name may be meant for, or "".
func misspelt(name string) string {
	for _, key := range []string{excludeKey, includeKey} {
		if document.Distance(strings.ToLower(name), key) <= tooNear {
			return key
		}
	}
	return ""
}

// values reads the list of a variable.
func (r *resolver) values(stage string, e document.Entry) []*document.Node {
	n := e.Value
	if n.Kind != document.List {
		r.problems.Add(n.Problem("stage %q: matrix: %s: must be a list of values, got %s", stage, e.Key, n.Describe()).WithHint("as in: %s: [1, 2]", e.Key))
		return nil
	}
	if len(n.Items) == 0 {
		r.problems.Add(n.Problem("stage %q: matrix: %s: has no values", stage, e.Key).WithHint("a variable needs one at least"))
		return nil
	}
	seen := make(map[string]bool, len(n.Items))
	for i, item := range n.Items {
		if !isValue(item) {
			r.problems.Add(item.Problem("stage %q: matrix: %s[%d]: must be a string, a number, true or false, got %s", stage, e.Key, i, item.Describe()))
			continue
		}
		text := stagename.Value(item)
		if seen[text] {
			r.problems.Add(item.Problem("stage %q: matrix: %s: %s stands twice", stage, e.Key, item.Describe()).WithHint("each value is part of a stage's name, there as %s", text))
		}
		seen[text] = true
	}
	return n.Items
}

func isValue(n *document.Node) bool {
	return n.Kind != document.List && n.Kind != document.Map && n.Kind != document.Null
}

// fits says whether the combinations are few enough.
func (r *resolver) fits(stage string, m *matrix, values map[string][]*document.Node, budget int) bool {
	count := 1.0
	for _, name := range m.names {
		count *= float64(len(values[name]))
	}
	if count <= float64(budget) {
		return true
	}
	r.problems.Add(m.at.Problem("stage %q: matrix: makes %.0f stages; a pipeline has at most %d, and there is room for %d", stage, math.Min(count, 1e18), document.MaxStages, max(budget, 0)))
	return false
}

// product makes the combinations, the last variable changing fastest.
func (m *matrix) product(values map[string][]*document.Node) {
	texts := make([][]string, len(m.names)) // of each value once
	total := 1
	for i, name := range m.names {
		for _, v := range values[name] {
			texts[i] = append(texts[i], stagename.Value(v))
		}
		total *= len(texts[i])
	}
	m.combinations = make([]*Combination, 0, total)
	at := make([]int, len(m.names))
	for range total {
		c := &Combination{Names: m.names, Values: make([]*document.Node, len(at)), texts: make([]string, len(at))}
		for i, k := range at {
			c.Values[i], c.texts[i] = values[m.names[i]][k], texts[i][k]
		}
		c.name = stagename.Values(c.Names, c.texts)
		m.combinations = append(m.combinations, c)
		for i := len(at) - 1; i >= 0; i-- {
			if at[i]++; at[i] < len(texts[i]) {
				break
			}
			at[i] = 0
		}
	}
}

// exclude takes away the combinations that have all values of an item of exclude:. One
// that takes none away is no mistake: a profile may have left out values that it names.
func (r *resolver) exclude(stage string, m *matrix, items []*document.Node) {
	for _, item := range items {
		before := len(m.combinations)
		m.combinations = slices.DeleteFunc(m.combinations, func(c *Combination) bool {
			return !slices.ContainsFunc(item.Entries, func(e document.Entry) bool { return c.texts[slices.Index(c.Names, e.Key)] != stagename.Value(e.Value) })
		})
		if len(m.combinations) == before {
			texts := make([]string, len(item.Entries))
			for i, e := range item.Entries {
				texts[i] = e.Key + "=" + stagename.Value(e.Value)
			}
			r.plan.Remarks.Add(item.Problem("stage %q: matrix: exclude: there is no combination with %s to leave out", stage, strings.Join(texts, ",")).
				WithHint("there are %s", m.list()))
		}
	}
}

// include adds combinations; each names every variable.
func (r *resolver) include(stage string, m *matrix, items []*document.Node) {
	there := make(map[string]bool, len(m.combinations))
	for _, c := range m.combinations {
		there[c.name] = true
	}
	for _, item := range items {
		c := &Combination{Names: m.names}
		for _, name := range m.names {
			v := item.Get(name)
			if v == nil {
				r.problems.Add(item.Problem("stage %q: matrix: include: has no value for %q", stage, name))
				return
			}
			c.Values, c.texts = append(c.Values, v), append(c.texts, stagename.Value(v))
		}
		c.name = stagename.Values(c.Names, c.texts)
		if there[c.name] {
			r.problems.Add(item.Problem("stage %q: matrix: include: %s is there already", stage, c))
			return
		}
		there[c.name] = true
		m.combinations = append(m.combinations, c)
	}
}

// items reads the list of include: or exclude:, maps from variables to values.
func (r *resolver) items(stage string, m *matrix, key string, n *document.Node) []*document.Node {
	if n == nil || n.Kind == document.Null || len(m.names) == 0 {
		return nil
	}
	if n.Kind != document.List {
		r.problems.Add(n.Problem("stage %q: matrix: %s: must be a list of combinations, got %s", stage, key, n.Describe()).WithHint("as in: %s: [{ seed: 0 }]", key))
		return nil
	}
	good := len(n.Items) <= maxItems
	if !good {
		r.problems.Add(n.Problem("stage %q: matrix: %s: has %d combinations, the limit is %d", stage, key, len(n.Items), maxItems))
	}
	for _, item := range n.Items {
		if item.Kind == document.Map && len(item.Entries) == 0 {
			r.problems.Add(item.Problem("stage %q: matrix: %s: names no variable", stage, key).WithHint("as in: %s: [{ %s: … }]", key, m.names[0]))
			good = false
		}
		if item.Kind != document.Map {
			r.problems.Add(item.Problem("stage %q: matrix: %s: must be a map from variables to values, got %s", stage, key, item.Describe()))
			good = false
		}
		for _, e := range item.Entries {
			switch {
			case !slices.Contains(m.names, e.Key):
				r.problems.Add(item.KeyProblem(e, "stage %q: matrix: %s: there is no variable %q", stage, key, e.Key).WithHint("%s", document.Suggest(e.Key, m.names)))
				good = false
			case !isValue(e.Value):
				r.problems.Add(e.Value.Problem("stage %q: matrix: %s: %s: must be a string, a number, true or false, got %s", stage, key, e.Key, e.Value.Describe()))
				good = false
			}
		}
	}
	if !good {
		return nil
	}
	return n.Items
}

// mentioned lists the variables to which the nodes refer, as indexes of names.
func (m *matrix) mentioned(nodes ...*document.Node) []int {
	found := map[int]bool{}
	var look func(n *document.Node)
	look = func(n *document.Node) {
		if n == nil {
			return
		}
		for _, item := range n.Items {
			look(item)
		}
		for _, e := range n.Entries {
			look(e.Value)
		}
		if n.Kind != document.String || !strings.Contains(n.Text, "${matrix.") {
			return
		}
		for _, match := range reference.FindAllStringSubmatch(n.Text, -1) {
			if name, ok := strings.CutPrefix(match[1], "matrix."); ok && slices.Contains(m.names, name) {
				found[slices.Index(m.names, name)] = true
				m.used[name] = true
			}
		}
	}
	for _, n := range nodes {
		look(n)
	}
	return slices.Sorted(maps.Keys(found))
}

// group returns the steps of a matrix by their values of some of its variables.
func (m *matrix) group(steps []*Step, variables []int) map[string][]*Step {
	id := fmt.Sprint(variables)
	if known := m.groups[id]; known != nil {
		return known
	}
	g := map[string][]*Step{}
	for _, s := range steps {
		key := s.Matrix.key(variables)
		g[key] = append(g[key], s)
	}
	if m.groups == nil {
		m.groups = map[string]map[string][]*Step{}
	}
	m.groups[id] = g
	return g
}
