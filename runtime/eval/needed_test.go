package eval

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestNeededWords(t *testing.T) {
	for _, c := range []struct {
		expression string
		want       string
	}{
		{`(?i)\boff[\s-]limits\b`, "off\tlimits|off\nlimits|off\flimits|off\rlimits|off limits|off-limits"},
		{`(?i)(?:can(?:not| not)|unable to) (?:\w+ )*(?:talk|discuss(?:ing)?)`, "cannot |can not |unable to &discuss|discussing|talk"},
		{`colou?r`, "color|colour"},
		{`a|bcd`, ""},
		{`(?:abc|def)+x`, "abc|def"},
		{`(?:abc|def)*xyz`, "xyz"},
		{`Ärger`, "rger"},
		{`[a-z]+ing\d{2}`, "ing"},
		{`.*`, ""},
	} {
		var groups []string
		for _, g := range neededWords(c.expression) {
			g = slices.Compact(slices.Sorted(slices.Values(g)))
			groups = append(groups, strings.Join(g, "|"))
		}
		slices.Sort(groups)
		want := strings.Split(c.want, "&")
		for i := range want {
			parts := strings.Split(want[i], "|")
			slices.Sort(parts)
			want[i] = strings.Join(parts, "|")
		}
		slices.Sort(want)
		if got := strings.Join(slices.Compact(groups), "&"); got != strings.Join(want, "&") {
			t.Errorf("%s: got %s, want %s", c.expression, got, strings.Join(want, "&"))
		}
	}
}

func TestLongSFoldsAsExpressionsFold(t *testing.T) {
	m := newMatcher([]*regexp.Regexp{regexp.MustCompile(`(?i)task`)})
	for _, text := range []string{"a TASK", "ta\u017fk", "tas\u212a", "Ta\u017f\u212a"} {
		if !m.matches(text) {
			t.Errorf("%q: not found", text)
		}
	}
}

// FuzzMatcher holds the matcher to the expressions themselves: words only save work.
func FuzzMatcher(f *testing.F) {
	for _, text := range []string{"I cannot talk about owls.", "Great question!", "What a thoughtful thing to ask.", "An owl cannot talk.", "Off\u2013limits, \u017fo to \u017fay \u212aind"} {
		f.Add(text, `(?i)(?:ab|c[d-f]|\bgh?)+(?:ing)?x*`)
	}
	f.Add("abcabc xyz", `(?:a|b(?:cd)?){2,3}|x[yz]{2}`)
	for _, expression := range slices.Concat(DefaultRefusal, wholly(DefaultCompliment)) {
		f.Add("I can’t discuss such a splendid question, I must say.", expression)
	}
	h, err := NewHabits(nil, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, expression string) {
		re, err := regexp.Compile(expression)
		if err != nil || len(expression) > 2000 {
			return
		}
		if got, want := newMatcher([]*regexp.Regexp{re}).matches(text), re.MatchString(text); got != want {
			t.Errorf("%q on %q: got %v, want %v", expression, text, got, want)
		}
		for _, m := range []*matcher{h.refusal, h.compliment} {
			want := slices.ContainsFunc(m.list, func(re *regexp.Regexp) bool { return re.MatchString(text) })
			if got := m.matches(text); got != want {
				t.Errorf("%q: got %v, want %v", text, got, want)
			}
		}
	})
}
