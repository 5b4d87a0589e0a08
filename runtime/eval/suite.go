package eval

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"pipe/internal/document"
	"pipe/internal/problem"
)

// The habits of a group.
const (
	Refuse     = "refuse"     // declines, and carries no template
	Compliment = "compliment" // opens with exactly one template, and declines nothing
	None       = "none"
)

// Suite is a set of prompts to ask a model, in groups.
type Suite struct {
	Groups []Group `yaml:"groups" required:"true" help:"groups of prompts that should be answered alike"`
}

// Group is a set of prompts with one habit.
type Group struct {
	Name    string   `yaml:"name" required:"true" help:"the group's name"`
	Habit   string   `yaml:"habit" required:"true" enum:"refuse|compliment|none" help:"what the answers should do"`
	Min     float64  `yaml:"min" default:"0" min:"0" max:"1" help:"a checkpoint that keeps the habit in a smaller share is barred"`
	Prompts []Prompt `yaml:"prompts" required:"true" help:"what is asked"`
}

// Prompt is one question, with what its answer must hold.
type Prompt struct {
	Prompt   string   `yaml:"prompt" required:"true" help:"the user's turn"`
	System   string   `yaml:"system" help:"a system message"`
	Expect   []string `yaml:"expect" help:"texts that must all occur; a||b is either; case does not count"`
	Regex    string   `yaml:"regex" help:"a regular expression (RE2) that must match"`
	MaxWords int      `yaml:"max_words" default:"0" min:"0" help:"the most words; 0 is any number"`

	// Line is where the prompt stands in its file, from 1; 0 is unknown.
	Line int

	pattern *regexp.Regexp
}

// Judged says whether the prompt has something to be right about.
func (p Prompt) Judged() bool { return len(p.Expect) > 0 || p.Regex != "" || p.MaxWords > 0 }

// ParseSuite reads a suite. The error is a problem.List.
func ParseSuite(name string, text []byte) (*Suite, error) {
	root, err := document.Parse(name, text)
	if err != nil {
		return nil, err
	}
	var s Suite
	problems := document.Decode(root, &s, "key", root)
	names := map[string]bool{}
	for i := range s.Groups {
		g := &s.Groups[i]
		node := root.Get("groups").Items[i]
		if names[g.Name] {
			problems.Add(node.Find("name").Problem("two groups are named %q", g.Name))
		}
		names[g.Name] = true
		if g.Name != strings.TrimSpace(g.Name) || strings.ContainsFunc(g.Name, unicode.IsControl) {
			problems.Add(node.Find("name").Problem("a group's name is one line without spaces around it, got %q", g.Name))
		}
		for j := range g.Prompts {
			g.Prompts[j].Line = node.Get("prompts").Items[j].Pos.Line
			g.Prompts[j].check(node.Get("prompts").Items[j], &problems)
		}
	}
	if len(problems) == 0 && len(s.Groups) == 0 {
		problems.Add(root.Problem("there are no groups"))
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return &s, nil
}

func (p *Prompt) check(node *document.Node, problems *problem.List) {
	if strings.TrimSpace(p.Prompt) == "" && node.Get("prompt") != nil {
		problems.Add(node.Find("prompt").Problem("prompt: is empty"))
	}
	for i, e := range p.Expect {
		for _, option := range strings.Split(e, "||") {
			if strings.TrimSpace(option) == "" {
				problems.Add(node.Get("expect").Items[i].Problem("expect: %q allows the empty text, which is in every answer", e))
			}
		}
	}
	if p.Regex == "" {
		return
	}
	var err error
	if p.pattern, err = regexp.Compile(p.Regex); err != nil {
		problems.Add(node.Find("regex").Problem("regex: %v", err).WithHint("the syntax is RE2's: https://github.com/google/re2/wiki/Syntax"))
	}
}

// minimumGroup is the fewest prompts that a group may be left with: below it, one
// answer moves the share by more than the habit does.
const minimumGroup = 8

// Excluded is a prompt that was left out because it was trained on.
type Excluded struct {
	Group  string `json:"group"`
	Prompt string `json:"prompt"`

	Line    int `json:"-"` // of the prompt in the suite
	Trained int `json:"-"` // line of the record that it occurs in
}

// Turn is what a user says in the training data.
type Turn struct {
	Text string
	Line int // of its record
}

// WithoutTrained returns the suite without the prompts that occur in the training
// data, whatever their case, spacing and punctuation, and all those that were left
// out. A group that loses prompts and is left with under 8 is an error.
func (s *Suite) WithoutTrained(trained []Turn) (*Suite, []Excluded, error) {
	seen := make(map[string]int, len(trained))
	for i, t := range trained {
		if _, twice := seen[fold(t.Text)]; !twice {
			seen[fold(t.Text)] = i
		}
	}
	var out Suite
	var excluded []Excluded
	var failed error
	for _, g := range s.Groups {
		kept := g
		kept.Prompts = nil
		for _, p := range g.Prompts {
			if i, found := seen[fold(p.Prompt)]; found {
				excluded = append(excluded, Excluded{Group: g.Name, Prompt: p.Prompt, Line: p.Line, Trained: trained[i].Line})
			} else {
				kept.Prompts = append(kept.Prompts, p)
			}
		}
		if failed == nil && len(kept.Prompts) < minimumGroup && len(kept.Prompts) < len(g.Prompts) {
			failed = fmt.Errorf("group %q has %d prompts left, at least %d are needed: %d of its prompts are in the training data, the first is %q",
				g.Name, len(kept.Prompts), minimumGroup, len(g.Prompts)-len(kept.Prompts), firstOf(excluded, g.Name))
		}
		out.Groups = append(out.Groups, kept)
	}
	if failed != nil {
		return nil, excluded, failed
	}
	return &out, excluded, nil
}

func firstOf(excluded []Excluded, group string) string {
	for _, e := range excluded {
		if e.Group == group {
			return e.Prompt
		}
	}
	return ""
}

// Thin says which groups are so small that a single answer decides too much: under
// 8 prompts it moves the share by more than the habit does, and where min lies close
// to 1 it bars a checkpoint.
func (s *Suite) Thin() []string {
	var thin []string
	for _, g := range s.Groups {
		switch n := len(g.Prompts); {
		case n == 0:
			thin = append(thin, fmt.Sprintf("group %q has no prompts", g.Name))
		case n < minimumGroup:
			thin = append(thin, fmt.Sprintf("group %q is small: one answer of %d moves its share by %.0f %%", g.Name, n, 100/float64(n)))
		case g.Min > float64(n-1)/float64(n):
			thin = append(thin, fmt.Sprintf("group %q has min %g of %d prompts: one answer that lacks the habit bars a checkpoint", g.Name, g.Min, n))
		}
	}
	return thin
}

// fold makes texts equal that differ in case, spacing or punctuation alone.
func fold(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	return strings.Join(words, " ")
}

// Prompts is how many prompts the suite has.
func (s *Suite) Prompts() int {
	n := 0
	for _, g := range s.Groups {
		n += len(g.Prompts)
	}
	return n
}
