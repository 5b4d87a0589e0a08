// Package stagename writes and reads the names of stages.
//
// A stage of a pipeline file has a plain name: train-qlora. With a matrix it stands for
// several stages, one for each combination of values, which are named after their
// values:
//
//	train-qlora[learning_rate=0.001,seed=0]
//
// The variables are sorted by name. A value of letters, digits and . _ + - stands as it
// is, up to 40 of them; of any other, such as a path, the last of these characters and
// a hash stand for it (a.jsonl~5f1d3a2b90c4). Where all of it has more than 120 characters,
// a hash alone stands between the brackets.
//
// A selector is a name, or part of one: train-qlora, train-qlora[*],
// train-qlora[seed=0], train-qlora[seed=*]. Nothing else may have brackets in it.
package stagename

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"pipe/internal/document"
)

const (
	maxValue  = 40  // bytes of a value that stands as it is
	valueTail = 20  // bytes of a longer one that are shown before its hash
	maxValues = 120 // bytes between the brackets; a file's name has 255 at most
)

// Value is how a scalar stands in names: numbers in one form, 1e-3 as 0.001.
func Value(n *document.Node) string { return value(n.Canonical()) }

func value(text string) string {
	if text != "" && len(text) <= maxValue && strings.Trim(text, safe) == "" {
		return text
	}
	tail := text[max(len(text)-valueTail, 0):]
	for strings.Trim(tail, safe) != "" {
		tail = tail[strings.IndexFunc(tail, func(r rune) bool { return !strings.ContainsRune(safe, r) })+1:]
	}
	return tail + "~" + hash(text, 6)
}

const safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-"

func hash(text string, bytes int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:bytes])
}

// Values is what stands between the brackets of a name: for variables in order their
// values, as Value writes them.
func Values(variables, values []string) string {
	var b strings.Builder
	for i, v := range variables {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(v)
		b.WriteByte('=')
		b.WriteString(values[i])
	}
	if b.Len() > maxValues {
		return "~" + hash(b.String(), 8)
	}
	return b.String()
}

// Name is the name of a combination of a stage's matrix; values is from Values.
func Name(stage, values string) string { return stage + "[" + values + "]" }

// Base is a name without what stands in brackets: the stage of the file.
func Base(name string) string {
	base, _, _ := strings.Cut(name, "[")
	return base
}

// SplitOutput splits STAGE.OUTPUT, whose stage may be a name or a selector.
func SplitOutput(text string) (stage, output string, ok bool) {
	if end := strings.LastIndexByte(text, ']'); end >= 0 {
		output, ok = strings.CutPrefix(text[end+1:], ".")
		return text[:end+1], output, ok
	}
	return strings.Cut(text, ".")
}

// SplitList splits selectors at the commas between them.
func SplitList(text string) []string {
	var list []string
	start, inside := 0, false
	for i := range len(text) {
		switch {
		case text[i] == '[':
			inside = true
		case text[i] == ']':
			inside = false
		case text[i] == ',' && !inside:
			list = append(list, text[start:i])
			start = i + 1
		}
	}
	return append(list, text[start:])
}

// Selector chooses among the combinations of a stage.
type Selector struct {
	Stage  string
	Values []Choice // in the order in which they were written
	All    bool     // [*]
	Whole  bool     // no brackets
	Exact  string   // what stands in the brackets
}

// Choice is a variable's value in a selector.
type Choice struct {
	Variable string
	Value    string // as it was written; "*" is any
}

// Parse reads a selector.
func Parse(text string) (Selector, error) {
	stage, inside, bracket := strings.Cut(text, "[")
	s := Selector{Stage: stage, Whole: !bracket}
	if !bracket {
		return s, nil
	}
	inside, closed := strings.CutSuffix(inside, "]")
	if !closed || strings.ContainsAny(inside, "[]") {
		return s, fmt.Errorf("%q: what begins with [ must end with ]", text)
	}
	s.Exact = inside
	if inside == "*" {
		s.All = true
		return s, nil
	}
	if strings.HasPrefix(inside, "~") {
		return s, nil
	}
	for part := range strings.SplitSeq(inside, ",") {
		variable, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || variable == "" || value == "" {
			return s, fmt.Errorf("%q: in brackets stand values such as [seed=0], several with commas, or [*]", text)
		}
		if slices.ContainsFunc(s.Values, func(c Choice) bool { return c.Variable == variable }) {
			return s, fmt.Errorf("%q: %s stands twice in the brackets; one value is chosen of each variable, or all, as in [%s=*]", text, variable, variable)
		}
		s.Values = append(s.Values, Choice{variable, value})
	}
	return s, nil
}

// Is says whether a choice takes a value as it stands in names.
func (c Choice) Is(value string) bool { return c.Any() || c.Value == value || c.Canonical() == value }

// Any says whether a choice takes every value.
func (c Choice) Any() bool { return c.Value == "*" }

// Canonical is the choice's value as it stands in names.
func (c Choice) Canonical() string { return Value(document.Scalar(c.Value)) }

// Matches says whether a name is one that the selector chooses. A name that is a hash
// is chosen by itself, by its stage, by [*] and by all of its values.
func (s Selector) Matches(name string) bool {
	stage, inside, _ := strings.Cut(name, "[")
	inside = strings.TrimSuffix(inside, "]")
	switch {
	case stage != s.Stage:
		return false
	case s.Whole, s.All && inside != "", s.Exact == inside:
		return true
	case len(s.Values) == 0:
		return false
	case strings.HasPrefix(inside, "~"):
		return inside == s.hashed()
	}
	for _, c := range s.Values {
		if !c.among(inside) {
			return false
		}
	}
	return true
}

// hashed is what stands between the brackets of a name with just the selector's values, if
// that is a hash.
func (s Selector) hashed() string {
	choices := slices.SortedFunc(slices.Values(s.Values), func(a, b Choice) int { return strings.Compare(a.Variable, b.Variable) })
	var variables, values []string
	for _, c := range choices {
		variables, values = append(variables, c.Variable), append(values, c.Canonical())
	}
	return Values(variables, values)
}

func (c Choice) among(inside string) bool {
	for part := range strings.SplitSeq(inside, ",") {
		if variable, value, ok := strings.Cut(part, "="); ok && variable == c.Variable {
			return c.Is(value)
		}
	}
	return false
}
