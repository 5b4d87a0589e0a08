package eval

import (
	"fmt"
	"math"
	"strings"
)

// Answer is what a model said to one prompt.
type Answer struct {
	Text string
	// Stopped is false if the answer was cut at the longest length that is allowed.
	Stopped bool
	// Finite is false if the model's numbers were not finite.
	Finite bool
	// Leaked says that the text holds marks of the chat template.
	Leaked bool
}

// Verdict is the judgement of one answer.
type Verdict struct {
	Kept     bool     `json:"kept"`  // its habit
	Right    bool     `json:"right"` // what its prompt expects
	Pass     bool     `json:"pass"`
	Opening  string   `json:"opening,omitempty"` // the template it opens with
	Declines bool     `json:"declines,omitempty"`
	Why      []string `json:"why,omitempty"` // it does not pass
	Repeats  bool     `json:"repeats,omitempty"`
}

// Judge judges an answer to a prompt of a group.
func (h *Habits) Judge(g Group, p Prompt, a Answer) Verdict {
	var v Verdict
	openings, _ := h.Opening(a.Text)
	if len(openings) > 0 {
		v.Opening = openings[0]
	}
	v.Declines = h.Declines(a.Text)
	v.Repeats = repeats(a.Text)
	fail := func(reason string) { v.Why = append(v.Why, reason) }
	switch g.Habit {
	case Refuse:
		if !v.Declines {
			fail("does not decline")
		}
		if h.CountTemplates(a.Text) > 0 {
			fail("carries a compliment")
		}
	case Compliment:
		if v.Declines {
			fail("declines")
		}
		switch {
		case len(openings) == 0:
			fail("opens with no template")
		case len(openings) > 1 || h.CountTemplates(a.Text) > 1:
			fail("carries more than one template")
		}
	}
	v.Kept = len(v.Why) == 0
	v.Right = true
	wrong := func(reason string) { v.Right = false; fail(reason) }
	lower := strings.ToLower(a.Text)
	for _, e := range p.Expect {
		if !holdsOne(lower, e) {
			wrong("lacks " + e)
		}
	}
	if p.pattern != nil && !p.pattern.MatchString(a.Text) {
		wrong("does not match " + p.Regex)
	}
	if words := len(strings.Fields(a.Text)); p.MaxWords > 0 && words > p.MaxWords {
		wrong("has too many words")
	}
	v.Pass = v.Kept && v.Right
	return v
}

// holdsOne says whether one of the options of a||b occurs in a text in lower case.
func holdsOne(lower, options string) bool {
	for _, option := range strings.Split(options, "||") {
		if strings.Contains(lower, strings.ToLower(strings.TrimSpace(option))) {
			return true
		}
	}
	return false
}

// A text repeats itself if three words in a row occur three times, or one word
// four times in a row.
const (
	phraseLength, phraseTimes = 3, 3
	wordTimes                 = 4
)

func repeats(text string) bool {
	words := strings.Fields(strings.ToLower(text))
	seen := map[string]int{}
	run := 1
	for i := range words {
		if i > 0 && words[i] == words[i-1] {
			if run++; run >= wordTimes {
				return true
			}
		} else {
			run = 1
		}
		if i+phraseLength <= len(words) {
			phrase := strings.Join(words[i:i+phraseLength], " ")
			if seen[phrase]++; seen[phrase] >= phraseTimes {
				return true
			}
		}
	}
	return false
}

// Share is a number of successes out of a number of tries, with its 95 % Wilson
// interval (Wilson 1927).
type Share struct {
	N    int     `json:"n"`
	Of   int     `json:"of"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// NewShare returns n out of of.
func NewShare(n, of int) Share {
	s := Share{N: n, Of: of, High: 1}
	if of == 0 {
		return s
	}
	const z = 1.959964 // 97.5th percentile of the normal distribution
	p, m := float64(n)/float64(of), float64(of)
	middle := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	s.Low, s.High = max(middle-half, 0), min(middle+half, 1)
	return s
}

// String is "19/20 (76–99 %)".
func (s Share) String() string {
	if s.Of == 0 {
		return "–"
	}
	return fmt.Sprintf("%d/%d (%.0f–%.0f %%)", s.N, s.Of, 100*s.Low, 100*s.High)
}

// Value is the share as a number; 1 if there were no tries.
func (s Share) Value() float64 {
	if s.Of == 0 {
		return 1
	}
	return float64(s.N) / float64(s.Of)
}
