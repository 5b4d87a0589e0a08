package document

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"pipe/internal/problem"
)

// formatWidth is how many characters a line has at most, for a flow to stay on it.
const formatWidth = 120

// Format writes a document in one form: two spaces of indentation, one empty line at
// most, flows on one line or, where they do not fit or hold a comment, as blocks, and
// quotes only where they are needed. order returns, for the map at a path of keys, the
// keys that come first, in their order; the others follow as they stand.
//
// What it returns means the same, key for key, and holds every comment. Formatting it
// again changes nothing. The error is a problem.List: of a text that Parse refuses, or
// of one that cannot be written in that form, which then is as good as it is.
func Format(name string, text []byte, order func(path []string) []string) (out []byte, err error) {
	before, err := Parse(name, text)
	if err != nil {
		return nil, err
	}
	text = unixLines(text)
	root, err := layoutOf(string(text))
	if err != nil {
		return nil, problem.List{problem.At(name, 1, 1, "%v", err)}
	}
	if len(root.entries) == 0 {
		return text, nil
	}
	f := formatter{order: order}
	f.document(root)
	out = []byte(f.out.String())
	after, err := Parse(name, out)
	at := before // where nothing better is known
	if err == nil {
		at = difference(before, after)
	}
	if at == nil {
		at = lostComment(before, text, out)
	}
	if at != nil {
		return nil, problem.List{at.Problem("cannot be formatted without changing what stands here; the file is left as it is")}
	}
	return out, nil
}

// difference returns the first node of a that is another one in b, whatever the order of
// keys, or nil.
func difference(a, b *Node) *Node {
	if a.Kind != b.Kind || len(a.Items) != len(b.Items) || len(a.Entries) != len(b.Entries) || a.Kind != Null && a.Text != b.Text {
		return a
	}
	for i, item := range a.Items {
		if d := difference(item, b.Items[i]); d != nil {
			return d
		}
	}
	values := make(map[string]*Node, len(b.Entries))
	for _, e := range b.Entries {
		values[e.Key] = e.Value
	}
	for _, e := range a.Entries {
		other := values[e.Key]
		if other == nil {
			return e.Value
		}
		if d := difference(e.Value, other); d != nil {
			return d
		}
	}
	return nil
}

// lostComment returns the place in a text of a comment that another text has not, as
// often, or nil.
func lostComment(root *Node, text, other []byte) *Node {
	a, b := commentsOf(text), commentsOf(other)
	for i, c := range a {
		if i >= len(b) || b[i].text != c.text {
			return &Node{Pos: Position{Line: c.at.line, Col: c.at.column}, src: root.src}
		}
	}
	if len(b) > len(a) {
		return root
	}
	return nil
}

// commentsOf lists the comments of a text, sorted by what they say.
func commentsOf(text []byte) []comment {
	var list []comment
	for _, tk := range lexer.Tokenize(string(text)) {
		if tk.Type == token.CommentType {
			list = append(list, comment{text: strings.TrimRight(tk.Value, " \t"), at: placeOf(tk)})
		}
	}
	slices.SortStableFunc(list, func(a, b comment) int { return strings.Compare(a.text, b.text) })
	return list
}

// formatter writes a layout.
type formatter struct {
	order func(path []string) []string
	out   strings.Builder
	path  []string
	kept  bool // the last line belongs to a text that keeps the empty lines at its end
}

func (f *formatter) document(root *layout) {
	first := root.entries[0]
	head := headOf(first)
	f.comments(head, "", false)
	first.lead = first.lead[len(head):]
	if len(head) > 0 {
		f.out.WriteByte('\n')
	}
	f.mapping(root, 0, "")
}

// modeline tells an editor where the schema is; it stays at the top.
const modeline = "# yaml-language-server:"

// headOf is the part of the comments before the first key that is about the file: up
// to the last empty line, and a modeline.
func headOf(first *layoutEntry) []comment {
	n := 0
	for i, c := range first.lead {
		if strings.HasPrefix(c.text, modeline) {
			n = i + 1
		} else if c.blank && i > 0 {
			n = i
		}
	}
	if first.blank {
		n = len(first.lead)
	}
	return first.lead[:n]
}

// mapping writes a block, whose first line begins with first instead of spaces.
func (f *formatter) mapping(l *layout, indent int, first string) {
	entries := l.entries
	if l.kind == mapLayout && f.order != nil {
		entries = sorted(entries, f.order(f.path))
	}
	pad := strings.Repeat(" ", indent)
	for i, e := range entries {
		begin := pad
		if i == 0 && first != "" {
			begin = first // what stands before it was hoisted
		} else {
			f.hoist(e, begin)
			f.lead(e, pad, i > 0, indent == 0 && f.spreads(e))
		}
		if e.key == nil {
			f.value(e, indent, begin+"-")
			continue
		}
		f.path = append(f.path, e.key.Value)
		f.value(e, indent, begin+keyText(e.key)+":")
		f.path = f.path[:len(f.path)-1]
	}
	f.comments(l.foot, pad, true)
}

// hoist puts before an item the comments that would stand between its dash and the
// block that begins behind it.
func (f *formatter) hoist(e *layoutEntry, begin string) {
	for at := e; at.key == nil && at.value.block == nil; {
		if _, ok := at.value.inline(f, begin+"-"); ok {
			return
		}
		begin += "- "
		if at.trail != nil {
			e.leads(*at.trail)
			at.trail = nil
		}
		entries := at.value.entries
		if at.value.kind == mapLayout && f.order != nil {
			entries = sorted(entries, f.order(f.path))
		}
		if len(entries) == 0 {
			return
		}
		at = entries[0]
		for _, c := range at.lead {
			e.leads(c)
		}
		at.lead = nil
	}
}

// lead writes the comments before an entry. Empty lines stay where they may: not at
// the beginning of a block. apart asks for one.
func (f *formatter) lead(e *layoutEntry, pad string, blanks, apart bool) {
	lead, blank := e.lead, e.blank
	if len(lead) > 0 {
		lead = slices.Clone(lead)
		lead[0].blank = blanks && (lead[0].blank || apart)
		f.comments(lead, pad, true)
	} else {
		blank = blanks && (blank || apart)
	}
	if blank {
		f.emptyLine()
	}
}

func (f *formatter) comments(list []comment, pad string, blanks bool) {
	for i, c := range list {
		if c.blank && (blanks || i > 0) {
			f.emptyLine()
		}
		f.out.WriteString(pad + c.text + "\n")
		f.kept = false
	}
}

func (f *formatter) emptyLine() {
	if !f.kept {
		f.out.WriteByte('\n')
	}
}

// value writes an entry's line from begin on, and what stands below it.
func (f *formatter) value(e *layoutEntry, indent int, begin string) {
	l := e.value
	f.kept = false
	if text, ok := l.inline(f, begin); ok {
		if text != "" {
			begin += " " + text
		}
		f.line(begin, e.trail)
		return
	}
	if l.block != nil {
		f.text(l.block, indent, begin, e.trail)
		return
	}
	if e.key == nil && len(l.entries) > 0 {
		f.mapping(l, indent+2, begin+" ")
		return
	}
	if e.trail != nil && l.flow && l.start.line == l.end.line {
		e.trail.at.column = 0 // its old one lies behind the whole flow, too long for a line
	}
	f.line(begin, e.trail)
	f.mapping(l, indent+2, "")
}

func (f *formatter) text(b *blockScalar, indent int, begin string, trail *comment) {
	header := digit.ReplaceAllString(b.header, "2")
	f.line(begin+" "+header, trail)
	pad := strings.Repeat(" ", indent+2)
	for _, line := range b.lines {
		if line != "" {
			f.out.WriteString(pad + line)
		}
		f.out.WriteByte('\n')
	}
	f.kept = strings.Contains(header, "+")
}

var digit = regexp.MustCompile(`[1-9]`)

// line writes a line with the comment behind it: in its old column, if there is room.
func (f *formatter) line(text string, trail *comment) {
	f.out.WriteString(text)
	if trail != nil {
		f.out.WriteString(strings.Repeat(" ", max(trail.at.column-1-utf8.RuneCountInString(text), 2)) + trail.text)
	}
	f.out.WriteByte('\n')
}

// spreads says whether an entry takes several lines.
func (f *formatter) spreads(e *layoutEntry) bool {
	_, ok := e.value.inline(f, keyText(e.key)+":")
	return !ok
}

// inline is the value on the line that begins so, if it can stand there.
func (l *layout) inline(f *formatter, begin string) (string, bool) {
	switch {
	case l.block != nil:
		return "", false
	case l.kind == scalarLayout:
		return scalarText(l.token), true
	case len(l.entries) == 0 && len(l.foot) == 0:
		return l.flowText(f), true
	case !l.flow || !l.closed():
		return "", false
	}
	text := l.flowText(f)
	return text, utf8.RuneCountInString(begin)+1+utf8.RuneCountInString(text) <= formatWidth
}

// closed says that a flow holds no comment.
func (l *layout) closed() bool {
	return !l.open && !slices.ContainsFunc(l.entries, func(e *layoutEntry) bool { return !e.value.closed() })
}

func (l *layout) flowText(f *formatter) string {
	if l.kind == scalarLayout {
		return scalarText(l.token)
	}
	entries := l.entries
	if l.kind == mapLayout && f.order != nil {
		entries = sorted(entries, f.order(f.path))
	}
	parts := make([]string, len(entries))
	for i, e := range entries {
		if e.key == nil {
			parts[i] = e.value.flowText(f)
			continue
		}
		f.path = append(f.path, e.key.Value)
		parts[i] = strings.TrimRight(keyText(e.key)+": "+e.value.flowText(f), " ")
		f.path = f.path[:len(f.path)-1]
		if e.value.token != nil && e.value.token.Type == token.ImplicitNullType {
			parts[i] += " "
		}
	}
	text := strings.Join(parts, ", ")
	switch {
	case l.kind == listLayout:
		return "[" + text + "]"
	case text == "":
		return "{}"
	}
	return "{ " + strings.TrimRight(text, " ") + " }"
}

// sorted puts the entries whose keys are in first before the others.
func sorted(entries []*layoutEntry, first []string) []*layoutEntry {
	if len(first) == 0 {
		return entries
	}
	rank := func(e *layoutEntry) int {
		if i := slices.Index(first, e.key.Value); i >= 0 {
			return i
		}
		return len(first)
	}
	c := slices.Clone(entries)
	slices.SortStableFunc(c, func(a, b *layoutEntry) int { return rank(a) - rank(b) })
	return c
}

func keyText(tk *token.Token) string { return scalarText(tk) }

// bare is a text that needs no quotes anywhere, and that no YAML reader takes for
// anything else.
var bare = regexp.MustCompile(`^([A-Za-z/_]|\.\.?/)[A-Za-z0-9_./+-]*( [A-Za-z0-9_./+-]+)*$`)

// words are what YAML 1.1 takes for booleans.
var words = []string{"y", "n", "yes", "no", "on", "off"}

// scalarText writes a scalar on one line.
func scalarText(tk *token.Token) string {
	text := tk.Value
	switch tk.Type {
	case token.ImplicitNullType:
		return ""
	case token.SingleQuoteType, token.DoubleQuoteType:
		if bare.MatchString(text) && Scalar(text).Kind == String && !slices.Contains(words, strings.ToLower(text)) {
			return text
		}
		if tk.Origin != "" {
			return tk.Origin
		}
		return strconv.Quote(text)
	}
	text = strings.TrimSpace(text)
	if strings.Contains(text, "\n") {
		return strconv.Quote(text)
	}
	return text
}
