package cron

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// word is a field's text and where it begins in the expression, in bytes.
type word struct {
	text string
	col  int
}

// split returns the fields of an expression.
func split(text string) []word {
	var words []word
	for i := 0; i < len(text); {
		n := strings.IndexAny(text[i:], " \t")
		if n < 0 {
			n = len(text) - i
		}
		if n > 0 {
			words = append(words, word{text[i : i+n], i})
		}
		i += n + 1
	}
	return words
}

// mistake is something wrong in a field.
type mistake struct {
	col           int
	message, hint string
}

// parser reads one field.
type parser struct {
	field
	word
	problems []mistake
}

func (p *parser) fail(col int, hint, format string, args ...any) {
	p.problems = append(p.problems, mistake{p.col + col, fmt.Sprintf(format, args...), hint})
}

// set reads the list of items that a field is.
func (p *parser) set() set {
	s := set{star: p.text[0] == '*'}
	items := strings.Split(p.text, ",")
	at := 0
	for _, item := range items {
		from, to, step, ok := p.item(item, at)
		for v := from; ok && v <= to; v += step {
			s.values |= 1 << v
		}
		at += len(item) + 1
	}
	if p.max == 7 && s.has(7) { // both are Sunday
		s.values = s.values&^(1<<7) | 1
	}
	if s.star {
		s.text = items[0]
		if len(items) > 1 { // in numbers, as names are not for every cron
			s.text += "," + list(s.values, p.field, "-", "")
		}
	}
	return s
}

// item reads "*", "a", "a-b", "*/n" or "a-b/n", which begins at a byte of the field.
func (p *parser) item(item string, at int) (from, to, step int, ok bool) {
	span, stepText, stepped := strings.Cut(item, "/")
	first, last, ranged := strings.Cut(span, "-")
	before := len(p.problems)
	step = 1
	switch {
	case item == "":
		p.fail(at, "", "an item of the list is missing")
	case span == "*":
		from, to = p.min, p.max
		if p.max == 7 {
			to = 6
		}
	case ranged:
		from = p.value(first, at)
		to = p.value(last, at+len(first)+1)
		if p.max == 7 && to == 0 && from > 0 {
			to = 7 // Fri-Sun
		}
		if len(p.problems) == before && from > to {
			p.fail(at, fmt.Sprintf("a range that goes over the end is two: %d-%d,%d-%d", from, p.max, p.min, to), "the range %s goes backwards", quote(span))
		}
	default:
		from = p.value(span, at)
		to = from
		if stepped && len(p.problems) == before {
			p.fail(at+len(span), fmt.Sprintf("%d-%d/%s begins at %d", from, p.max, stepText, from), "a step needs a range or *, got %s", quote(item))
		}
	}
	if stepped {
		step = p.step(stepText, at+len(span)+1, to-from, len(p.problems) > before)
	}
	return from, to, step, len(p.problems) == before
}

// step reads the n of /n. A step that is wider than its range would fire at the
// range's begin alone, which is not what anybody means by it.
func (p *parser) step(text string, at, width int, broken bool) int {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 1 || !digits(text):
		p.fail(at, "", "a step is a number from 1 on, got %s", quote(text))
		return 1
	case !broken && n > width:
		p.fail(at, "", "the step %d is wider than what it steps over, %d", n, width)
	}
	return n
}

func (p *parser) value(text string, at int) int {
	if i := slices.Index(p.names, strings.ToLower(text)); i >= 0 {
		return p.min + i
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || !digits(text):
		hint := ""
		if p.names != nil {
			hint = fmt.Sprintf("or a name: %s … %s", p.names[0], p.names[len(p.names)-1])
		}
		p.fail(at, hint, "must be *, or a number from %d to %d, got %s", p.min, p.max, quote(text))
	case n < p.min || n > p.max:
		p.fail(at, "", "must be from %d to %d, got %d", p.min, p.max, n)
		return p.min
	}
	return n
}

// digits keeps signs out, which Atoi takes.
func digits(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

func quote(text string) string { return strconv.Quote(text) }

func number(n int) string { return strconv.Itoa(n) }
