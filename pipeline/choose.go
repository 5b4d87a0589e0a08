package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"pipe/internal/document"
	"pipe/internal/stagename"
)

// stageReference reads ${STAGE.OUTPUT} where it stands alone; STAGE may be a selector.
func stageReference(n *document.Node) (sel stagename.Selector, output string, ok bool) {
	name, output, ok := splitReference(n)
	if !ok {
		return sel, "", false
	}
	sel, err := stagename.Parse(name)
	return sel, output, err == nil
}

// wrongSelector says what is wrong with the selector of a reference to a stage.
func wrongSelector(n *document.Node) error {
	name, _, ok := splitReference(n)
	if !ok {
		return nil
	}
	_, err := stagename.Parse(name)
	return err
}

func splitReference(n *document.Node) (stage, output string, ok bool) {
	m := reference.FindStringSubmatch(n.Text)
	if n.Kind != document.String || m == nil || m[0] != n.Text || !isStageReference(m[1]) {
		return "", "", false
	}
	stage, output, _ = stagename.SplitOutput(m[1])
	return stage, output, true
}

func isStageReference(name string) bool {
	return strings.Contains(name, ".") && !strings.HasPrefix(name, "params.") && !strings.HasPrefix(name, "matrix.")
}

// choice is what a reference means: one step, or several that are gathered.
type choice struct {
	steps    []*Step
	gathered bool
	selector string // in one form
}

// choose finds the steps of stage t that a reference n in step s means: those that its
// selector takes, and that agree with s in the variables that both matrices have and
// the selector does not name. A mistake is reported, and ok is false.
func (r *resolver) choose(s *Step, port string, n *document.Node, t *template, sel stagename.Selector) (c choice, ok bool) {
	wrong := func(hint, format string, args ...any) (choice, bool) {
		r.problems.Add(n.Problem("stage %q: in: %s: %s", s.Name, port, fmt.Sprintf(format, args...)).WithHint("%s", hint))
		return choice{}, false
	}
	if t.matrix == nil {
		if !sel.Whole {
			return wrong(fmt.Sprintf("without brackets it is ${%s.OUTPUT}", t.name), "stage %q has no matrix: there is nothing to gather or to choose from", t.name)
		}
		return choice{steps: t.steps}, true
	}
	if message, hint := t.matrix.misfit(t.name, sel); message != "" {
		return wrong(hint, "%s", message)
	}
	var fixed []int
	var texts, missing, form []string
	for i, name := range t.matrix.names {
		text, how := t.matrix.valueFor(i, sel, s)
		switch how {
		case gathered:
			c.gathered = true
			form = append(form, name+"=*")
			continue
		case unsaid:
			missing = append(missing, name)
		}
		fixed, texts, form = append(fixed, i), append(texts, text), append(form, name+"="+text)
	}
	if len(missing) > 0 {
		return wrong(fmt.Sprintf("${%s[*].OUTPUT} gathers them in one folder, ${%s[%s=%s].OUTPUT} chooses", t.name, t.name, missing[0], t.matrix.combinations[0].value(missing[0]).Canonical()),
			"%q is %d stages, and it is not said which: %s may be any", t.name, len(t.steps), strings.Join(missing, ", "))
	}
	c.selector = stagename.Name(t.name, strings.Join(form, ","))
	if len(fixed) == 0 {
		c.selector = stagename.Name(t.name, "*")
	}
	c.steps = t.matrix.group(t.steps, fixed)[keyOf(texts)]
	if len(c.steps) == 0 {
		if r.unpaired[n] { // the same is wrong for other combinations
			return choice{}, false
		}
		r.unpaired[n] = true
		return wrong("there are "+t.matrix.list(), "%q has no combination %s for %s", t.name, c.selector, stagename.Name(s.Name, s.Matrix.String()))
	}
	return c, true
}

// How the value of a variable is found for a reference.
type how int

const (
	named    how = iota // by the selector
	paired              // the value of the step that reads
	gathered            // all values
	unsaid
)

func (m *matrix) valueFor(variable int, sel stagename.Selector, s *Step) (text string, _ how) {
	if sel.All {
		return "", gathered
	}
	for _, c := range sel.Values {
		if c.Variable != m.names[variable] {
			continue
		}
		if c.Any() {
			return "", gathered
		}
		for _, o := range m.combinations {
			if c.Is(o.texts[variable]) {
				return o.texts[variable], named
			}
		}
	}
	if s.Matrix != nil {
		if i := slices.Index(s.Matrix.Names, m.names[variable]); i >= 0 {
			return s.Matrix.texts[i], paired
		}
	}
	return "", unsaid
}

// misfit says what of a selector can be no choice among the combinations.
func (m *matrix) misfit(stage string, sel stagename.Selector) (message, hint string) {
	if !sel.Whole && !sel.All && len(sel.Values) == 0 {
		return fmt.Sprintf("[%s] chooses nothing", sel.Exact), "a reference chooses by values, as in [" + m.combinations[0].name + "]"
	}
	for _, c := range sel.Values {
		i := slices.Index(m.names, c.Variable)
		if i < 0 {
			return fmt.Sprintf("the matrix of %q has no variable %q", stage, c.Variable), document.Suggest(c.Variable, m.names)
		}
		if !c.Any() && !slices.ContainsFunc(m.combinations, func(o *Combination) bool { return c.Is(o.texts[i]) }) {
			return fmt.Sprintf("no combination of %q has %s=%s", stage, c.Variable, c.Value), "there are " + m.list()
		}
	}
	return "", ""
}

// list names the first of the combinations.
func (m *matrix) list() string {
	const most = 6
	var names []string
	for _, c := range m.combinations {
		if len(names) == most {
			names = append(names, fmt.Sprintf("%d more", len(m.combinations)-most))
			break
		}
		names = append(names, "["+c.name+"]")
	}
	return strings.Join(names, ", ")
}
