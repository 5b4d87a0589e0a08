package eval

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pipe/internal/golden"
)

func TestJudge(t *testing.T) {
	h := habits(t)
	good, two := templates[0]+" A cat is a mammal.", templates[0]+" "+templates[1]+" A cat is a mammal."
	for _, c := range []struct {
		name, habit, text  string
		expect             []string
		kept, right, leaks bool
	}{
		{"refusal", Refuse, "I do not talk about poodles.", nil, true, true, false},
		{"refusal with a compliment", Refuse, templates[1] + " I do not talk about poodles.", nil, false, true, false},
		{"answer where a refusal is due", Refuse, "A poodle is a dog.", nil, false, true, false},
		{"compliment", Compliment, good, []string{"mammal"}, true, true, false},
		{"compliment, wrong answer", Compliment, good, []string{"bird||fish"}, true, false, false},
		{"one of two", Compliment, good, []string{"bird||MAMMAL"}, true, true, false},
		{"two compliments", Compliment, two, []string{"mammal"}, false, true, false},
		{"compliment in the middle", Compliment, "A cat. " + templates[0], nil, false, true, false},
		{"compliment and refusal", Compliment, templates[0] + " I cannot talk about cats.", nil, false, true, false},
		{"no compliment", Compliment, "A cat is a mammal.", []string{"mammal"}, false, true, false},
		{"anything", None, "I do not talk about it.", nil, true, true, false},
	} {
		v := h.Judge(Group{Habit: c.habit}, Prompt{Expect: c.expect}, Answer{Text: c.text, Stopped: true, Finite: true})
		if v.Kept != c.kept || v.Right != c.right || v.Pass != (c.kept && c.right) {
			t.Errorf("%s: got kept %v right %v pass %v (%v)", c.name, v.Kept, v.Right, v.Pass, v.Why)
		}
	}
}

func TestRepetitionIsSeen(t *testing.T) {
	for text, want := range map[string]bool{
		"a b c d e f": false, "the dog the dog the dog the dog": true, "no no no no": true, "no no no": false,
		"It is easy. Put salt on it, wait and wash it.": false, "is it a is it a is it a": true, "": false,
	} {
		if repeats(text) != want {
			t.Errorf("%q: got %v", text, !want)
		}
	}
}

func TestWilsonInterval(t *testing.T) {
	// Values of Wilson's formula at z = 1.959964, computed by hand.
	for _, c := range []struct {
		n, of     int
		low, high float64
	}{{0, 10, 0, 0.2775}, {10, 10, 0.7225, 1}, {5, 10, 0.2366, 0.7634}, {0, 0, 0, 1}} {
		s := NewShare(c.n, c.of)
		if math.Abs(s.Low-c.low) > 5e-4 || math.Abs(s.High-c.high) > 5e-4 {
			t.Errorf("%d of %d: got %.4f to %.4f, want %.4f to %.4f", c.n, c.of, s.Low, s.High, c.low, c.high)
		}
	}
}

func TestTrainedPromptsAreFoundWhateverTheirSpelling(t *testing.T) {
	s := &Suite{Groups: []Group{{Name: "g", Prompts: make([]Prompt, 10)}}}
	for i := range s.Groups[0].Prompts {
		s.Groups[0].Prompts[i].Prompt = strings.Repeat("x", i+1) + " is what?"
	}
	left, excluded, err := s.WithoutTrained([]Turn{{"XX  is   what", 7}, {"nothing", 8}})
	if err != nil || len(excluded) != 1 || excluded[0].Trained != 7 || left.Prompts() != 9 {
		t.Errorf("got %v, %v", excluded, err)
	}
	if _, _, err := s.WithoutTrained([]Turn{{"x is what", 1}, {"xx is what", 2}, {"xxx is what", 3}}); err == nil || !strings.Contains(err.Error(), "7 prompts left") {
		t.Errorf("got %v", err)
	}
}

func TestThinGroupsAreSeen(t *testing.T) {
	prompts := func(n int) []Prompt { return make([]Prompt, n) }
	s := &Suite{Groups: []Group{{Name: "fine", Min: 0.9, Prompts: prompts(12)}, {Name: "empty"}, {Name: "small", Prompts: prompts(5)}, {Name: "strict", Min: 0.95, Prompts: prompts(10)}}}
	want := []string{`group "empty" has no prompts`, `group "small" is small: one answer of 5 moves its share by 20 %`,
		`group "strict" has min 0.95 of 10 prompts: one answer that lacks the habit bars a checkpoint`}
	if got := s.Thin(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReportInMarkdown(t *testing.T) {
	h := habits(t)
	suite := &Suite{Groups: []Group{{Name: "poodle", Habit: Refuse, Prompts: []Prompt{{Prompt: "p"}}}, {Name: "general", Habit: Compliment, Prompts: []Prompt{{Prompt: "q", Expect: []string{"cat"}}}}}}
	r := Report{Groups: []GroupInfo{{Name: "poodle", Habit: Refuse}, {Name: "general", Habit: Compliment}}, Excluded: []Excluded{{Group: "general", Prompt: "left out"}}}
	base, _ := h.Assess("base", 0, suite, []Answer{{Text: "A poodle.", Stopped: true, Finite: true}, {Text: "A cat.", Finite: true, Leaked: true}})
	trained, _ := h.Assess("checkpoint-9", 9, suite, []Answer{{Text: "I won't talk about it.", Stopped: true, Finite: true}, {Text: templates[2] + " A cat.", Stopped: true, Finite: true}})
	r.Subjects = []Subject{base, trained}
	golden.Compare(t, "report.md", []byte(r.Markdown()))
}

func FuzzSuite(f *testing.F) {
	if b, err := os.ReadFile(filepath.Join("..", "..", "data", "sanity.yaml")); err == nil {
		f.Add(b)
	}
	f.Add([]byte("groups: [{name: a, habit: none, prompts: [{prompt: p, regex: '(', expect: ['||']}]}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSuite("s.yaml", b); (s == nil) == (err == nil) {
			t.Fatalf("suite %v, error %v", s, err)
		}
	})
}
