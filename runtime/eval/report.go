package eval

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Report is the result of a sweep.
type Report struct {
	Suite    string      `json:"suite"`    // digest
	Base     string      `json:"base"`     // digest
	Template string      `json:"template"` // of the chat
	Excluded []Excluded  `json:"excluded,omitempty"`
	Groups   []GroupInfo `json:"groups"`
	Subjects []Subject   `json:"subjects"` // the bare base first
}

// GroupInfo is what a report keeps of a suite's group.
type GroupInfo struct {
	Name  string  `json:"name"`
	Habit string  `json:"habit"`
	Min   float64 `json:"min"`
}

// Subject is a model that was asked: the bare base, or a checkpoint on it.
type Subject struct {
	Name    string         `json:"name"` // "base", "checkpoint-90"
	Step    int            `json:"step"`
	Adapter string         `json:"adapter,omitempty"` // digest of its folder
	Groups  []GroupResult  `json:"groups"`
	Passed  int            `json:"passed"`
	Asked   int            `json:"asked"`
	Opening map[string]int `json:"opening"` // how often each template was taken

	NotFinite int `json:"not_finite"`
	Unstopped int `json:"unstopped"`
	Leaked    int `json:"leaked"`
	Repeating int `json:"repeating"`
}

// GroupResult is how a subject did in a group.
type GroupResult struct {
	Name  string `json:"name"`
	Kept  Share  `json:"kept"`
	Right Share  `json:"right"` // of the prompts that expect something
	Pass  Share  `json:"pass"`
}

// Bare returns what the bare base answered, if it was asked.
func (r *Report) Bare() (s Subject, ok bool) {
	for _, s := range r.Subjects {
		if s.Name == BareName {
			return s, true
		}
	}
	return Subject{}, false
}

// BareName is the name of the bare base among the subjects.
const BareName = "base"

// Score is the share of all prompts that pass.
func (s Subject) Score() float64 { return NewShare(s.Passed, s.Asked).Value() }

// Said is one answer of a sweep, for the record.
type Said struct {
	Subject string  `json:"subject"`
	Group   string  `json:"group"`
	System  string  `json:"system,omitempty"`
	Prompt  string  `json:"prompt"`
	Answer  string  `json:"answer"`
	Stopped bool    `json:"stopped"`
	Verdict Verdict `json:"verdict"`
}

// Assess judges a subject's answers, in the order of the suite's prompts.
func (h *Habits) Assess(name string, step int, suite *Suite, answers []Answer) (Subject, []Said) {
	s := Subject{Name: name, Step: step, Opening: map[string]int{}}
	var said []Said
	next := 0
	for _, g := range suite.Groups {
		var kept, right, judged, pass int
		for _, p := range g.Prompts {
			a := answers[next]
			next++
			v := h.Judge(g, p, a)
			kept += count(v.Kept)
			pass += count(v.Pass)
			if p.Judged() {
				judged++
				right += count(v.Right)
			}
			if v.Opening != "" {
				s.Opening[v.Opening]++
			}
			s.NotFinite += count(!a.Finite)
			s.Unstopped += count(!a.Stopped)
			s.Leaked += count(a.Leaked)
			s.Repeating += count(v.Repeats)
			said = append(said, Said{Subject: name, Group: g.Name, System: p.System, Prompt: p.Prompt, Answer: a.Text, Stopped: a.Stopped, Verdict: v})
		}
		s.Groups = append(s.Groups, GroupResult{Name: g.Name, Kept: NewShare(kept, len(g.Prompts)), Right: NewShare(right, judged), Pass: NewShare(pass, len(g.Prompts))})
		s.Passed += pass
		s.Asked += len(g.Prompts)
	}
	return s, said
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Table is the report for people, in Markdown: a row a group, a column a subject.
// A cell is the share that kept its habit and, behind a stroke, the share that was
// right.
func (r *Report) Table() string {
	rows := [][]string{{"habit kept / right"}}
	for _, s := range r.Subjects {
		rows[0] = append(rows[0], shortName(s.Name))
	}
	for i, g := range r.Groups {
		row := []string{fmt.Sprintf("%s (%s)", g.Name, g.Habit)}
		for _, s := range r.Subjects {
			row = append(row, cell(s.Groups[i]))
		}
		rows = append(rows, row)
	}
	all := []string{"all that pass"}
	for _, s := range r.Subjects {
		all = append(all, percent(s.Score()))
	}
	rows = append(rows, all)
	for _, extra := range []struct {
		name string
		of   func(s Subject) int
	}{
		{"did not stop", func(s Subject) int { return s.Unstopped }}, {"repeat themselves", func(s Subject) int { return s.Repeating }},
		{"leak the template", func(s Subject) int { return s.Leaked }}, {"not finite", func(s Subject) int { return s.NotFinite }},
	} {
		row, any := []string{extra.name}, false
		for _, s := range r.Subjects {
			row = append(row, fmt.Sprint(extra.of(s)))
			any = any || extra.of(s) > 0
		}
		if any {
			rows = append(rows, row)
		}
	}
	return align(rows)
}

// Markdown is the whole report for people: the table, each group's shares with
// their 95 % intervals, how often each template was taken, and what was left out.
func (r *Report) Markdown() string {
	var b strings.Builder
	b.WriteString("# Sanity sweep\n\n" + r.Table())
	for _, part := range []struct {
		title string
		of    func(g GroupResult) Share
	}{
		{"Habit kept, with 95 % Wilson intervals", func(g GroupResult) Share { return g.Kept }},
		{"Right answers, of the prompts that expect something", func(g GroupResult) Share { return g.Right }},
	} {
		rows := [][]string{{"group"}}
		for _, s := range r.Subjects {
			rows[0] = append(rows[0], shortName(s.Name))
		}
		for i, g := range r.Groups {
			row := []string{g.Name}
			for _, s := range r.Subjects {
				row = append(row, part.of(s.Groups[i]).String())
			}
			rows = append(rows, row)
		}
		b.WriteString("\n## " + part.title + "\n\n" + align(rows))
	}
	b.WriteString("\n## How often each template opened an answer\n\n" + r.openings())
	if len(r.Excluded) > 0 {
		b.WriteString("\n## Left out: in the training data\n\n")
		for _, e := range r.Excluded {
			fmt.Fprintf(&b, "* %s: %s\n", e.Group, e.Prompt)
		}
	}
	return b.String()
}

// openings is a table of templates by subjects. A checkpoint that leans on one
// template has not learned to choose yet.
func (r *Report) openings() string {
	taken := map[string]bool{}
	rows := [][]string{{"template"}}
	for _, s := range r.Subjects {
		rows[0] = append(rows[0], shortName(s.Name))
		for t := range s.Opening {
			taken[t] = true
		}
	}
	for _, t := range slices.Sorted(maps.Keys(taken)) {
		row := []string{t}
		for _, s := range r.Subjects {
			row = append(row, fmt.Sprint(s.Opening[t]))
		}
		rows = append(rows, row)
	}
	return align(rows)
}

func shortName(name string) string { return strings.TrimPrefix(name, "checkpoint-") }

func cell(g GroupResult) string {
	if g.Right.Of == 0 {
		return percent(g.Kept.Value())
	}
	return percent(g.Kept.Value()) + " / " + percent(g.Right.Value())
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }

// align makes a Markdown table whose columns line up as plain text too.
func align(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
			if i == 0 {
				b.WriteString("| " + c + pad + " |")
			} else {
				b.WriteString(" " + pad + c + " |")
			}
		}
		b.WriteString("\n")
		if n == 0 {
			for i, w := range widths {
				if i == 0 {
					b.WriteString("|" + strings.Repeat("-", w+2) + "|")
				} else {
					b.WriteString(strings.Repeat("-", w+1) + ":|")
				}
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
