package document

import (
	"fmt"
	"strings"

	"pipe/internal/problem"
)

// Kind is what a Node is.
type Kind uint8

const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	List
	Map
)

func (k Kind) String() string {
	return [...]string{"nothing", "a boolean", "a whole number", "a number", "a string", "a list", "a map"}[k]
}

// Position is a place in a text file. Both count from 1; Col counts bytes.
type Position struct{ Line, Col int }

// Node is a value of a document, with its place.
type Node struct {
	Kind Kind

	// Text is a scalar as it was written, without quotes.
	Text string
	// Plain is false for a quoted string or a block scalar.
	Plain bool

	Bool  bool
	Int   int64
	Float float64

	Items   []*Node
	Entries []Entry // in the order of the file

	Pos Position
	src *source
}

// Entry is a key of a map with its value.
type Entry struct {
	Key   string
	Pos   Position
	Value *Node
}

// NewString returns a string node that stands where at stands.
func NewString(text string, at *Node) *Node {
	n := &Node{Pos: at.Pos, src: at.src}
	n.setString(text)
	return n
}

// WithoutPlace returns a copy of n, deep, whose problems name the file alone: for
// text that has no lines, such as a command line's.
func (n *Node) WithoutPlace() *Node {
	c := *n
	c.Pos = Position{}
	c.Items = make([]*Node, len(n.Items))
	for i, item := range n.Items {
		c.Items[i] = item.WithoutPlace()
	}
	c.Entries = make([]Entry, len(n.Entries))
	for i, e := range n.Entries {
		c.Entries[i] = Entry{Key: e.Key, Value: e.Value.WithoutPlace()}
	}
	return &c
}

// Under returns a map of one key, whose value is n.
func (n *Node) Under(key string) *Node {
	return &Node{Kind: Map, Pos: n.Pos, src: n.src, Entries: []Entry{{Key: key, Pos: n.Pos, Value: n}}}
}

// File is the name that Parse was given.
func (n *Node) File() string {
	if n.src == nil {
		return ""
	}
	return n.src.name
}

// Place is the node's "file:line:col"; the file alone for text that has no lines.
func (n *Node) Place() string {
	return problem.Problem{File: n.File(), Line: n.Pos.Line, Col: n.Pos.Col}.Place()
}

// Get returns the value of a key, or nil. n may be nil or no map.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, e := range n.Entries {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// Problem returns a problem at the node's place.
func (n *Node) Problem(format string, args ...any) problem.Problem {
	return n.problemAt(n.Pos, format, args...)
}

// KeyProblem returns a problem at the place of an entry's key.
func (n *Node) KeyProblem(e Entry, format string, args ...any) problem.Problem {
	if e.Value.src != nil && e.Value.src != n.src {
		return e.Value.problemAt(e.Pos, format, args...)
	}
	return n.problemAt(e.Pos, format, args...)
}

func (n *Node) problemAt(pos Position, format string, args ...any) problem.Problem {
	if n.src == nil {
		return problem.At("", pos.Line, pos.Col, format, args...)
	}
	return *n.src.at(pos.Line, pos.Col, format, args...)
}

// Describe names a node's value for a message: its kind and, for a scalar, its
// text.
func (n *Node) Describe() string {
	switch n.Kind {
	case Null, List, Map:
		return n.Kind.String()
	case String:
		return fmt.Sprintf("the string %q", shorten(n.Text))
	}
	return n.Kind.String() + " " + shorten(n.Text)
}

func shorten(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Merge lays over on base: maps merge deep, everything else is replaced. Neither
// is changed. Every node keeps its own place.
func Merge(base, over *Node) *Node {
	if base == nil || over == nil || base.Kind != Map || over.Kind != Map {
		if over == nil {
			return base
		}
		return over
	}
	merged := *base
	merged.Entries = append([]Entry(nil), base.Entries...)
	index := make(map[string]int, len(base.Entries))
	for i, e := range merged.Entries {
		index[e.Key] = i
	}
	for _, e := range over.Entries {
		if i, ok := index[e.Key]; ok {
			value := Merge(merged.Entries[i].Value, e.Value)
			merged.Entries[i] = Entry{Key: e.Key, Pos: e.Pos, Value: value}
			if value.Kind == Map {
				merged.Entries[i].Pos = base.Entries[i].Pos
			}
			continue
		}
		merged.Entries = append(merged.Entries, e)
	}
	return &merged
}

// Nearest returns the candidate that a misspelled name most likely means, or "".
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", len(name)
	for _, c := range candidates {
		// Half of the letters, or more, are no misspelling.
		if d := Distance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance && 2*d < max(len(name), len(c)) {
			best, bestDistance = c, d
		}
	}
	return best
}

// Distance is Levenshtein's: how many bytes must be changed, added or taken away.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// Suggest is a hint that names what there is, the nearest first if one is near.
func Suggest(name string, candidates []string) string {
	if near := Nearest(name, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(candidates) == 0 {
		return "there are none"
	}
	const most = 24
	if len(candidates) > most {
		return fmt.Sprintf("there are %s, and %d more", strings.Join(candidates[:most], ", "), len(candidates)-most)
	}
	return "there are " + strings.Join(candidates, ", ")
}
