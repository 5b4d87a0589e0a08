package eval

import (
	"regexp"
	"slices"
	"strings"
)

// matcher is a list of expressions of which most texts need not be shown most.
type matcher struct {
	list   []*regexp.Regexp
	needed [][]int // by expression: groups of words, by number
	words  wordSet
}

// mostLetters bounds the words of a matcher, all together: the default lists have a
// tenth of it. Expressions beyond it are matched without looking for words first.
const mostLetters = 60000

func newMatcher(list []*regexp.Regexp) *matcher {
	m := &matcher{list: list, needed: make([][]int, len(list))}
	letters := 0
	var groups [][]string
	for i, re := range list {
		for _, group := range neededWords(re.String()) {
			if letters += len(strings.Join(group, "")); letters > mostLetters {
				break
			}
			m.needed[i] = append(m.needed[i], len(groups))
			groups = append(groups, group)
		}
	}
	m.words.add(groups)
	return m
}

// matches says whether any of the expressions matches a text.
func (m *matcher) matches(text string) bool {
	there := m.words.in(text)
	for i, re := range m.list {
		lacks := func(group int) bool { return !there[group] }
		if !slices.ContainsFunc(m.needed[i], lacks) && re.MatchString(text) {
			return true
		}
	}
	return false
}

// wordSet finds of which groups of words a text contains one, in one pass (Aho & Corasick
// 1975, with all transitions filled in).
type wordSet struct {
	class  [256]uint8 // of a byte; 0 is in no word
	width  int        // classes
	next   []uint16   // by state and class; there are fewer states than mostLetters
	ends   [][]int    // by state: groups of the words that end there
	groups int
}

// add fills an empty set with groups of words, which are in lower case.
func (s *wordSet) add(groups [][]string) {
	s.groups, s.width = len(groups), 1
	for _, word := range slices.Concat(groups...) {
		for i := range len(word) {
			if s.class[word[i]] == 0 {
				s.class[word[i]] = uint8(s.width)
				s.width++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		s.class[c] = s.class[c+'a'-'A']
	}
	s.state()
	for number, group := range groups {
		for _, word := range group {
			at := s.path(word)
			s.ends[at] = append(s.ends[at], number)
		}
	}
	s.connect()
}

// path returns the state that a word leads to, and makes what is missing on the way.
func (s *wordSet) path(word string) int {
	at := 0
	for i := range len(word) {
		place := at*s.width + int(s.class[word[i]])
		if s.next[place] == 0 {
			fresh := s.state() // which moves the table
			s.next[place] = fresh
		}
		at = int(s.next[place])
	}
	return at
}

func (s *wordSet) state() uint16 {
	s.next = append(s.next, make([]uint16, s.width)...)
	s.ends = append(s.ends, nil)
	return uint16(len(s.ends) - 1)
}

// connect leads each state on where its words do not: to the state of the longest
// ending of what was read that begins a word.
func (s *wordSet) connect() {
	fallback := make([]uint16, len(s.ends))
	var queue []uint16
	for class := range s.width {
		if to := s.next[class]; to != 0 {
			queue = append(queue, to)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		at := int(queue[0])
		back := int(fallback[at])
		s.ends[at] = append(s.ends[at], s.ends[back]...)
		slices.Sort(s.ends[at])
		s.ends[at] = slices.Compact(s.ends[at])
		for class := range s.width {
			to, other := &s.next[at*s.width+class], s.next[back*s.width+class]
			if *to == 0 {
				*to = other
				continue
			}
			fallback[*to] = other
			queue = append(queue, *to)
		}
	}
}

// asciiFolds spells the two letters outside ASCII that expressions take for letters
// within it when they ignore case.
var asciiFolds = strings.NewReplacer("\u017f", "s", "\u212a", "k")

// in says, by number, of which groups a text contains a word, whatever its case.
func (s *wordSet) in(text string) []bool {
	there := make([]bool, s.groups)
	if strings.Contains(text, "\u017f") || strings.Contains(text, "\u212a") {
		text = asciiFolds.Replace(text)
	}
	at := 0
	for i := range len(text) {
		at = int(s.next[at*s.width+int(s.class[text[i]])])
		for _, group := range s.ends[at] {
			there[group] = true
		}
	}
	return there
}
