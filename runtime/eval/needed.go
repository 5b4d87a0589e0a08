package eval

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a text must contain for an expression to match: of each group of words one
// (as RE2's FilteredRE2 and code search find it). Most replies lack the words of most
// expressions, and looking for words is a hundred times cheaper than matching.
//
// Words are in lower case, as are the texts they are looked for in.

// mostWords bounds a group; more words tell little.
const mostWords = 256

// shortestWord is the length, in bytes, below which a word is found everywhere.
const shortestWord = 3

// neededWords returns the groups of an expression that compiles. No groups: any text
// may match.
func neededWords(expression string) [][]string {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil
	}
	f := wordsOf(re.Simplify())
	return useful(append(f.needed, f.exact))
}

// useful drops groups that say nothing.
func useful(groups [][]string) [][]string {
	return slices.DeleteFunc(groups, func(words []string) bool { return shortest(words) < shortestWord })
}

func shortest(words []string) int {
	if len(words) == 0 {
		return 0
	}
	n := len(words[0])
	for _, w := range words {
		n = min(n, len(w))
	}
	return n
}

// found is what is known of a part of an expression: all that it can match, if that is
// few words, and groups that it needs.
type found struct {
	exact  []string // nil if not known
	needed [][]string
}

var empty = found{exact: []string{""}}

func wordsOf(re *syntax.Regexp) found {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return empty
	case syntax.OpLiteral:
		parts := make([]found, len(re.Rune))
		for i, r := range re.Rune {
			parts[i] = oneOf([]rune{r, r})
		}
		return concatenation(parts)
	case syntax.OpCharClass:
		return oneOf(re.Rune)
	case syntax.OpCapture:
		return wordsOf(re.Sub[0])
	case syntax.OpQuest:
		return alternation([]found{wordsOf(re.Sub[0]), empty})
	case syntax.OpPlus:
		f := wordsOf(re.Sub[0])
		return found{needed: append(f.needed, f.exact)}
	case syntax.OpConcat, syntax.OpAlternate:
		parts := make([]found, len(re.Sub))
		for i, sub := range re.Sub {
			parts[i] = wordsOf(sub)
		}
		if re.Op == syntax.OpConcat {
			return concatenation(parts)
		}
		return alternation(parts)
	}
	return found{} // anything, of any length
}

// oneOf is one of the runes in ranges of a character class, if they are few.
func oneOf(ranges []rune) found {
	var words []string
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] > 8 {
			return found{}
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			word, ok := lowered(r)
			if !ok || len(words) > 8 {
				return found{}
			}
			if !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
	}
	return found{exact: words}
}

// lowered returns the form that stands for a rune and all that it folds to. Letters
// outside ASCII that fold have none.
func lowered(r rune) (string, bool) {
	for folded := unicode.SimpleFold(r); folded != r; folded = unicode.SimpleFold(folded) {
		if folded < utf8.RuneSelf {
			return strings.ToLower(string(folded)), true
		}
	}
	if r < utf8.RuneSelf {
		return strings.ToLower(string(r)), true
	}
	// U+FFFD is also what a byte is taken for that is no UTF-8.
	return string(r), unicode.SimpleFold(r) == r && r != utf8.RuneError
}

// concatenation joins neighbours to longer words as long as they stay few.
func concatenation(parts []found) found {
	var all found
	whole, run := true, []string{""}
	for _, p := range parts {
		all.needed = append(all.needed, p.needed...)
		switch {
		case p.exact == nil:
			all.needed = append(all.needed, run)
			whole, run = false, []string{""}
		case len(run)*len(p.exact) > mostWords:
			all.needed = append(all.needed, run)
			whole, run = false, p.exact
		default:
			run = product(run, p.exact)
		}
	}
	if whole {
		all.exact = run
	} else {
		all.needed = append(all.needed, run)
	}
	return all
}

func product(a, b []string) []string {
	words := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			words = append(words, x+y)
		}
	}
	return words
}

// alternation needs one group of each part.
func alternation(parts []found) found {
	var all found
	all.exact = []string{}
	var group []string
	possible := true
	for _, p := range parts {
		if p.exact == nil || all.exact == nil || len(all.exact)+len(p.exact) > mostWords {
			all.exact = nil
		} else {
			all.exact = append(all.exact, p.exact...)
		}
		best := p.exact
		for _, g := range p.needed {
			if shortest(g) > shortest(best) {
				best = g
			}
		}
		if shortest(best) < shortestWord || len(group)+len(best) > mostWords {
			possible = false
		}
		group = append(group, best...)
	}
	if all.exact == nil && possible {
		all.needed = [][]string{group}
	}
	return all
}
