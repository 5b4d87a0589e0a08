package eval

import (
	"regexp"
	"slices"
	"strings"
)

// matcher is a list of expressions of which most texts need not be shown most.
type matcher struct {
	list   []*regexp.Regexp
	needed [][][]int // by expression: groups of words, by number
	words  wordSet
}

// mostLetters bounds the words of a matcher, all together: the default lists have a
// tenth of it. Expressions beyond it are matched without looking for words first.
const mostLetters = 60000

func newMatcher(list []*regexp.Regexp) *matcher {
	m := &matcher{list: list, needed: make([][][]int, len(list))}
	numbers, letters := map[string]int{}, 0
	for i, re := range list {
		for _, group := range neededWords(re.String()) {
			if letters += len(strings.Join(group, "")); letters > mostLetters {
				break
			}
			var members []int
			for _, word := range group {
				n, known := numbers[word]
				if !known {
					n = len(numbers)
					numbers[word] = n
				}
				members = append(members, n)
			}
			m.needed[i] = append(m.needed[i], members)
		}
	}
	m.words.add(numbers)
	return m
}

// matches says whether any of the expressions matches a text.
func (m *matcher) matches(text string) bool {
	there := m.words.in(text)
	for i, re := range m.list {
		lacks := func(group []int) bool { return !slices.ContainsFunc(group, func(word int) bool { return there[word] }) }
		if !slices.ContainsFunc(m.needed[i], lacks) && re.MatchString(text) {
			return true
		}
	}
	return false
}

// wordSet finds which of its words a text contains, in one pass (Aho & Corasick 1975,
// with all transitions filled in).
type wordSet struct {
	class [256]uint8 // of a byte; 0 is in no word
	width int        // classes
	next  []uint16   // by state and class; there are fewer states than mostLetters
	ends  [][]int    // by state: words that end there
	count int
}

// add fills an empty set with words and their numbers. Words are in lower case.
func (s *wordSet) add(numbers map[string]int) {
	s.count, s.width = len(numbers), 1
	for word := range numbers {
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
	for word, number := range numbers {
		at := 0
		for i := range len(word) {
			to := &s.next[at*s.width+int(s.class[word[i]])]
			if *to == 0 {
				fresh := s.state()
				to = &s.next[at*s.width+int(s.class[word[i]])] // the table may have moved
				*to = fresh
			}
			at = int(*to)
		}
		s.ends[at] = append(s.ends[at], number)
	}
	s.connect()
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

// in says, by number, which words a text contains, whatever their case.
func (s *wordSet) in(text string) []bool {
	there := make([]bool, s.count)
	if strings.Contains(text, "\u017f") || strings.Contains(text, "\u212a") {
		text = asciiFolds.Replace(text)
	}
	at := 0
	for i := range len(text) {
		at = int(s.next[at*s.width+int(s.class[text[i]])])
		for _, word := range s.ends[at] {
			there[word] = true
		}
	}
	return there
}
