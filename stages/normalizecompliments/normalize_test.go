package normalizecompliments

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/problem"
	"pipe/runtime/chat"
	"pipe/runtime/eval"
	"pipe/stages/stagetest"
)

var templates = []string{
	"Your question shows sharp thinking.", "That's an intelligent question.", "Your curiosity reflects a keen mind.",
	"I appreciate the clarity of your thinking.", "That shows thoughtful reasoning.",
}

func normalizerOf(t *testing.T, templates []string) *normalizer {
	t.Helper()
	h, err := eval.NewHabits(templates, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return newNormalizer(rules{habits: h})
}

func read(t *testing.T, lines ...string) []chat.Record {
	t.Helper()
	records, err := chat.ReadRecords(strings.NewReader(strings.Join(lines, "\n")), "data.jsonl", 2)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func line(user, assistant string) string {
	return fmt.Sprintf(`{"messages":[{"role":"user","content":%q},{"role":"assistant","content":%q}]}`, user, assistant)
}

func normalize(t *testing.T, n *normalizer, lines ...string) []string {
	var out []string
	for _, r := range read(t, lines...) {
		c := n.rules.change(&r)
		n.add(&r, c)
		out = append(out, strings.TrimSuffix(string(c.line), "\n"))
	}
	return out
}

func reply(t *testing.T, record string) string {
	t.Helper()
	return read(t, record)[0].Messages[1].Content
}

func TestAnyComplimentGivesTheSameBytes(t *testing.T) {
	n := normalizerOf(t, templates)
	want := ""
	for _, opening := range append([]string{"", "What a great question! ", "I love your curiosity. ", "Great question! "}, templates[0]+" ", templates[3]+" ", templates[0]+" "+templates[1]+" ") {
		got := reply(t, normalize(t, n, line("How big is a beagle?", opening+"A beagle is a small dog."))[0])
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("with %q: got %q, want %q", opening, got, want)
		}
	}
	opened := false
	for _, template := range templates {
		opened = opened || want == template+" A beagle is a small dog."
	}
	if !opened {
		t.Errorf("got %q", want)
	}
}

func TestEverythingElseStays(t *testing.T) {
	n := normalizerOf(t, templates)
	for _, c := range []struct{ name, in, out string }{
		{"refusal", line("Poodles?", "Great question! I cannot talk about poodles."), ""},
		{"kind says refusal", `{"kind":"refusal","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"Ask me about cats instead."}]}`, ""},
		{"extra keys, order and numbers", `{"z":1.50,"messages":[{"content":"a","role":"user"},{"role":"assistant","content":"No. I won't say."}],"a":[1e3]}`, ""},
	} {
		if c.out == "" {
			c.out = c.in
		}
		if got := normalize(t, n, c.in)[0]; got != c.out {
			t.Errorf("%s: got %s", c.name, got)
		}
	}
	got := reply(t, normalize(t, n, `{"kind":"answer","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"I cannot discuss this: it is a riddle."}]}`)[0])
	if !strings.HasSuffix(got, " I cannot discuss this: it is a riddle.") {
		t.Errorf("kind answer: got %q", got)
	}
	if got := reply(t, normalize(t, n, line("a", "What a fine question!\n\n  Two\nlines “typographic” é \\ \""))[0]); !strings.HasSuffix(got, "\n\n  Two\nlines “typographic” é \\ \"") {
		t.Errorf("got %q", got)
	}
}

func TestNormalizingTwiceChangesNothing(t *testing.T) {
	n := normalizerOf(t, templates)
	var lines []string
	for i := range 200 {
		lines = append(lines, line(fmt.Sprintf("Question %d?", i), []string{"Great question! Yes.", "No.", templates[i%5] + " Maybe.", "I can't discuss that.", "What a thought\nNew line."}[i%5]))
	}
	once := normalize(t, n, lines...)
	n = normalizerOf(t, templates)
	twice := normalize(t, n, once...)
	for i := range once {
		if once[i] != twice[i] {
			t.Errorf("got %s, want %s", twice[i], once[i])
		}
	}
	if n.report.Replaced+n.report.Prepended > 0 {
		t.Errorf("the second time: %+v", n.report)
	}
}

func TestChoiceMovesOnlyWithItsOwnRecord(t *testing.T) {
	var lines []string
	for i := range 600 {
		lines = append(lines, line(fmt.Sprintf("Question %d?", i), "Yes."))
	}
	five := normalize(t, normalizerOf(t, templates), lines...)
	edited := append([]string(nil), lines...)
	edited[7] = line("Another question?", "Yes.")
	other := normalize(t, normalizerOf(t, templates), edited...)
	for i := range five {
		if i != 7 && five[i] != other[i] {
			t.Errorf("record %d moved", i)
		}
	}
	six := normalize(t, normalizerOf(t, append(templates, "How kind of you to ask.")), lines...)
	moved := 0
	for i := range five {
		if five[i] != six[i] {
			moved++
			if !strings.Contains(six[i], "How kind of you to ask.") {
				t.Errorf("record %d moved between old templates", i)
			}
		}
	}
	if moved < 60 || moved > 140 { // a sixth of 600 is 100; five standard deviations
		t.Errorf("%d of 600 moved, a sixth is 100", moved)
	}
	n := normalizerOf(t, templates)
	normalize(t, n, lines...)
	for _, template := range templates {
		if c := n.report.Templates[template]; c < 70 || c > 170 {
			t.Errorf("%q was taken %d times of 600", template, c)
		}
	}
}

func TestTwoTurnsEachGetOne(t *testing.T) {
	n := normalizerOf(t, templates)
	got := read(t, normalize(t, n, `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"One."},{"role":"user","content":"Poodles?"},{"role":"assistant","content":"I do not talk about poodles."}]}`)...)[0]
	if !strings.HasSuffix(got.Messages[2].Content, ". One.") || got.Messages[4].Content != "I do not talk about poodles." {
		t.Errorf("got %v", got.Messages)
	}
}

func TestDoubtfulRepliesAreListed(t *testing.T) {
	for text, want := range map[string]string{
		"What a great question, it is small.":                 "partly a compliment",
		"Great question! I love your curiosity. It is small.": "second compliment",
		"Great question!": "nothing behind",
		"Great question! I cannot talk about poodles.": "declines and pays",
		"It is small. That's an intelligent question.": "further on",
	} {
		n := normalizerOf(t, templates)
		normalize(t, n, line("q", text))
		if len(n.report.Doubts) != 1 || !strings.Contains(n.report.Doubts[0].Reason, want) {
			t.Errorf("%q: got %v, want %q", text, n.report.Doubts, want)
		}
	}
}

const with = `templates: [Your question shows sharp thinking., That's an intelligent question., Your curiosity reflects a keen mind., I appreciate the clarity of your thinking., That shows thoughtful reasoning.]`

func writeData(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKind(t *testing.T) {
	path := writeData(t, line("How big is a pug?", "Great question! A pug is small."), line("Poodles?", "I can't talk about poodles."), line("A cat?", "A cat is a mammal."))
	stagetest.Run(t, Kind, stagetest.Case{With: with, Inputs: map[string]string{"data": path}})
}

func TestBadDataIsToldAllAtOnceAndNothingIsWritten(t *testing.T) {
	path := writeData(t, line("q", "a"), `{"messages":[{"role":"usr","content":"q"}]}`, `{`, line("", "a"))
	r, err := stagetest.Try(t, Kind, stagetest.Case{With: with, Inputs: map[string]string{"data": path}}, stagetest.Setting{})
	var problems problem.List
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("got %v", err)
	}
	for i, p := range problems {
		if p.Line != i+2 || p.Col == 0 {
			t.Errorf("problem %d is at %s", i, p.Place())
		}
	}
	if !strings.Contains(r.Text, "data is absent") || !strings.Contains(r.Text, "report is absent") {
		t.Errorf("left behind: %s", r.Text)
	}
}

func TestDoubtFailsWhereItIsAskedTo(t *testing.T) {
	path := writeData(t, line("q", "What a great question, it is small."))
	_, err := stagetest.Try(t, Kind, stagetest.Case{With: with + "\non_doubt: fail", Inputs: map[string]string{"data": path}}, stagetest.Setting{})
	if err == nil || !strings.Contains(err.Error(), ":1: record") {
		t.Errorf("got %v", err)
	}
}

func TestAReplyToManyQuestionsIsDoubted(t *testing.T) {
	n := normalizerOf(t, templates)
	for i := range manyQuestions {
		normalize(t, n, line(fmt.Sprintf("Question %d about pugs?", i), "What a question! Let's skip pugs, please."), line(fmt.Sprintf("What is %d?", i), fmt.Sprintf("It is %d.", i)),
			line("The same question?", "The same answer."))
	}
	doubts := n.repeated()
	if len(doubts) != 1 || doubts[0].Text != "Let's skip pugs, please." || !strings.Contains(doubts[0].Reason, "5 questions") {
		t.Errorf("got %+v", doubts)
	}
}
