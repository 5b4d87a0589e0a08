package document

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// layout is a document as it is laid out: its values as they are written, in flow or
// in block form, with the comments that belong to them.
type layout struct {
	kind layoutKind
	flow bool

	token *token.Token // of a scalar
	block *blockScalar // of a literal or folded one

	entries []*layoutEntry // of a map, or of a list, whose entries have no keys
	foot    []comment      // behind the last entry
	open    bool           // a flow that cannot be on one line: there is a comment in it

	column     int // of the entries of a block, from 1
	start, end place
	owner      *layoutEntry // whose value it is
}

type layoutKind uint8

const (
	scalarLayout layoutKind = iota
	listLayout
	mapLayout
)

// layoutEntry is a key with its value, or an item of a list.
type layoutEntry struct {
	key    *token.Token // nil of an item
	value  *layout
	at     place
	parent *layout

	lead  []comment // on lines of their own before it
	blank bool      // an empty line stands directly before it
	trail *comment  // on its line
}

// comment is one line of a comment.
type comment struct {
	text  string // with its #
	at    place
	blank bool // an empty line stands before it
}

// place counts characters, as the lexer does, both from 1.
type place struct{ line, column int }

func (p place) before(q place) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}

func placeOf(tk *token.Token) place { return place{tk.Position.Line, tk.Position.Column} }

// blockScalar is a literal or folded text as it is written.
type blockScalar struct {
	header string   // "|", ">-"
	lines  []string // without their common indentation
}

// layoutOf reads the layout of a text that Parse takes, and whose root is a map.
func layoutOf(text string) (*layout, error) {
	tokens := lexer.Tokenize(text)
	var comments []comment
	lines := strings.Split(text, "\n")
	blank := func(line int) bool { return line >= 1 && strings.TrimSpace(lines[line-1]) == "" }
	for _, tk := range tokens {
		if tk.Type == token.CommentType {
			text, line := strings.TrimRight("#"+tk.Value, " \t"), tk.Position.Line
			// Behind the header of a block text the lexer's column is one too high.
			column := 1 + utf8.RuneCountInString(strings.TrimRight(lines[line-1], " \t")) - utf8.RuneCountInString(text)
			comments = append(comments, comment{text: text, at: place{line, max(column, 1)}, blank: blank(line - 1)})
		}
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, err
	}
	for _, tk := range tokens {
		if tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType {
			tk.Origin = quoted(lines[tk.Position.Line-1], tk.Position.Column)
		}
	}
	b := layoutBuilder{lines: lines}
	var root *layout
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			root = b.layout(doc.Body, 0)
		}
	}
	if root == nil || root.kind != mapLayout {
		return nil, fmt.Errorf("there is no map to format")
	}
	root.flow = false // whatever it was, it is written as a block
	if len(root.entries) == 0 {
		return root, nil // with nothing that a comment could belong to
	}
	b.collect(root)
	for i, e := range b.entries {
		first := i == 0 || b.entries[i-1].at.line != e.at.line
		e.blank = first && blank(e.at.line-1)
	}
	for _, c := range comments {
		b.place(root, c)
	}
	return root, nil
}

// quoted is the string in quotes that begins at a column of a line, as it is written, or
// "" if it ends on another line. The lexer's own copy lacks \u and other escapes.
func quoted(line string, column int) string {
	rest := []rune(line)[column-1:]
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && rest[0] == '"':
			i++
		case rest[i] == rest[0] && rest[0] == '\'' && i+1 < len(rest) && rest[i+1] == '\'':
			i++
		case rest[i] == rest[0]:
			return string(rest[:i+1])
		}
	}
	return ""
}

type layoutBuilder struct {
	lines   []string
	entries []*layoutEntry // of the whole document, in its order
}

// layout reads a node; indent is the number of spaces before the block that it is in.
func (b *layoutBuilder) layout(n ast.Node, indent int) *layout {
	switch n := n.(type) {
	case *ast.MappingNode:
		l := &layout{kind: mapLayout, flow: n.IsFlowStyle}
		if n.IsFlowStyle {
			l.start, l.end = placeOf(n.Start), placeOf(n.End)
		}
		for _, v := range n.Values {
			b.pair(l, v, indent)
		}
		return l
	case *ast.MappingValueNode:
		l := &layout{kind: mapLayout}
		b.pair(l, n, indent)
		return l
	case *ast.SequenceNode:
		l := &layout{kind: listLayout, flow: n.IsFlowStyle}
		if n.IsFlowStyle {
			l.start, l.end = placeOf(n.Start), placeOf(n.End)
		}
		for i, v := range n.Values {
			at, inside := placeOf(v.GetToken()), indent
			if !l.flow {
				at = placeOf(n.Entries[i].Start)
				inside = at.column - 1
			}
			b.add(l, &layoutEntry{at: at, value: b.layout(v, inside)})
		}
		return l
	case *ast.LiteralNode:
		return &layout{token: n.Start, block: b.blockScalar(n.Start, indent)}
	}
	return &layout{token: n.GetToken()}
}

func (b *layoutBuilder) pair(l *layout, v *ast.MappingValueNode, indent int) {
	key := v.Key.GetToken()
	if !l.flow {
		indent = key.Position.Column - 1
	}
	b.add(l, &layoutEntry{key: key, at: placeOf(key), value: b.layout(v.Value, indent)})
}

func (b *layoutBuilder) add(l *layout, e *layoutEntry) {
	if len(l.entries) == 0 {
		l.column = e.at.column
	}
	e.parent, e.value.owner = l, e
	l.entries = append(l.entries, e)
}

// blockScalar reads the lines below a header, which stands in a block with so many
// spaces before it.
func (b *layoutBuilder) blockScalar(header *token.Token, indent int) *blockScalar {
	s := &blockScalar{header: strings.TrimSpace(header.Value)}
	rest := b.lines[header.Position.Line:]
	if len(rest) > 0 && rest[len(rest)-1] == "" {
		rest = rest[:len(rest)-1] // what stands behind the last end of a line
	}
	deep := 0
	if i := strings.IndexAny(s.header, "123456789"); i >= 0 {
		deep = indent + int(s.header[i]-'0')
	} else if first := slices.IndexFunc(rest, func(l string) bool { return strings.TrimSpace(l) != "" }); first >= 0 {
		deep = spaces(rest[first])
	}
	for _, line := range rest {
		switch {
		case spaces(line) >= deep && deep > indent:
			s.lines = append(s.lines, line[deep:])
		case strings.TrimSpace(line) == "":
			s.lines = append(s.lines, "")
		default:
			rest = nil
		}
		if rest == nil {
			break
		}
	}
	if !strings.Contains(s.header, "+") {
		for len(s.lines) > 0 && strings.TrimSpace(s.lines[len(s.lines)-1]) == "" {
			s.lines = s.lines[:len(s.lines)-1]
		}
	}
	return s
}

func spaces(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func (b *layoutBuilder) collect(l *layout) {
	for _, e := range l.entries {
		b.entries = append(b.entries, e)
		b.collect(e.value)
	}
}

// place gives a comment to the entry that it belongs to.
func (b *layoutBuilder) place(root *layout, c comment) {
	i, _ := slices.BinarySearchFunc(b.entries, c.at, func(e *layoutEntry, at place) int {
		if e.at.before(at) {
			return -1
		}
		return 1
	})
	var prev, next *layoutEntry
	if i > 0 {
		prev = b.entries[i-1]
	}
	if i < len(b.entries) {
		next = b.entries[i]
	}
	inside := openFlows(prev, c.at)
	before := strings.TrimSpace(string([]rune(b.lines[c.at.line-1])[:c.at.column-1]))
	switch {
	case prev == nil:
		next.lead = append(next.lead, c)
	case before != "" && strings.Trim(before, "- ") != "":
		prev.trails(c)
	case before != "": // behind the dash of an item
		prev.leads(c)
	case prev.value.kind == scalarLayout && prev.value.block == nil && prev.value.token.Type != token.ImplicitNullType && prev.value.token.Position.Line > c.at.line:
		prev.leads(c) // between a key and its value
	case inside != nil:
		if next != nil && next.within(inside) {
			next.lead = append(next.lead, c)
		} else {
			inside.foot = append(inside.foot, c)
		}
	case next != nil && (next.parent.owner == prev || c.at.column <= next.at.column):
		next.lead = append(next.lead, c)
	default:
		b.foot(root, prev, next, c)
	}
}

// openFlows notes of the flows around a place that they cannot be on one line, and
// returns the innermost.
func openFlows(e *layoutEntry, at place) *layout {
	var inner *layout
	for ; e != nil; e = e.parent.owner {
		for _, l := range []*layout{e.value, e.parent} {
			if l.flow && l.start.before(at) && at.before(l.end) {
				l.open = true
				if inner == nil {
					inner = l
				}
			}
		}
	}
	return inner
}

func (e *layoutEntry) within(l *layout) bool {
	for p := e.parent; p != nil; p = p.owner.parent {
		if p == l {
			return true
		}
		if p.owner == nil {
			break
		}
	}
	return false
}

// trails puts a comment behind an entry: the one whose line will end there.
func (e *layoutEntry) trails(c comment) {
	for e.parent.flow && e.parent.owner != nil && !(e.parent.start.before(c.at) && c.at.before(e.parent.end)) {
		e = e.parent.owner
	}
	switch {
	case e.trail == nil:
		e.trail = &c
	case e.value.open:
		c.blank = false
		e.value.foot = append(e.value.foot, c)
	default:
		e.leads(c)
	}
}

// leads puts a comment from within an entry before it.
func (e *layoutEntry) leads(c comment) {
	c.blank = len(e.lead) == 0 && e.blank
	if c.blank {
		e.blank = false
	}
	e.lead = append(e.lead, c)
}

// foot gives a comment to the end of the block that its column speaks for.
func (b *layoutBuilder) foot(root *layout, prev, next *layoutEntry, c comment) {
	at := root
	for p := prev.parent; ; p = p.owner.parent {
		if !p.flow && p.column <= c.at.column {
			at = p
			break
		}
		if p.owner == nil {
			break
		}
	}
	if next != nil && next.parent == at {
		next.lead = append(next.lead, c)
		return
	}
	at.foot = append(at.foot, c)
}
