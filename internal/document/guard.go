package document

import (
	"bytes"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"

	"pipe/internal/problem"
)

// Limits of a document. The parser of goccy/go-yaml v1.19.2 was measured to need
// 3.9 GB for 50,000 nested lists, to die at 100,000 unclosed ones, and to take
// quadratic time in the number of keys of one map (5 s at 40,000), so they hold
// before it is called. Its lexer is linear in all inputs that were tried.
const (
	MaxBytes = 8 << 20
	MaxDepth = 32
	MaxKeys  = 2000
	// MaxStages bounds the one map that may be wide: the stages of a pipeline.
	MaxStages = 20000

	maxLine = 64 << 10
	// maxUnclosed bounds brackets that were opened and not closed, whatever they
	// stand in, so that the lexer's tokens (300 bytes each) stay few.
	maxUnclosed = 10000
)

// guardBytes checks what can be seen without tokens. It returns nil or the first
// trouble.
func guardBytes(src *source) *problem.Problem {
	if len(src.text) > MaxBytes {
		return src.at(1, 1, "file has %d bytes, the limit is %d", len(src.text), MaxBytes)
	}
	if bytes.HasPrefix(src.text, []byte{0xef, 0xbb, 0xbf}) {
		p := src.at(1, 1, "file begins with a byte order mark")
		p.Hint = "save it as UTF-8 without one"
		return p
	}
	unclosed := 0
	for number, line := range src.lines {
		if len(line) > maxLine {
			return src.at(number+1, 1, "line of %d bytes, the limit is %d", len(line), maxLine)
		}
		for i := 0; i < len(line); {
			r, size := utf8.DecodeRune(line[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				return src.at(number+1, i+1, "byte 0x%02x is not valid UTF-8", line[i])
			case r < ' ' && r != '\t', r == 0x7f:
				return src.at(number+1, i+1, "control character U+%04X", r)
			case r == '[' || r == '{':
				unclosed++
			case r == ']' || r == '}':
				unclosed--
			}
			if unclosed > maxUnclosed {
				return src.at(number+1, i+1, "nested deeper than %d levels", MaxDepth)
			}
			i += size
		}
	}
	return nil
}

// guardTokens checks what would be costly for the parser, or is not wanted, and
// returns nil or the first trouble.
func guardTokens(src *source, tokens token.Tokens) *problem.Problem {
	g := nesting{}
	for i, tk := range tokens {
		if text := unwanted(tk, i); text != "" {
			p := src.atToken(tk, "%s", text)
			p.Hint = "a file is one document of plain maps, lists and scalars"
			return p
		}
		limit := g.follow(tk)
		place := tk
		if tk.Type == token.MappingValueType && tk.Prev != nil {
			place = tk.Prev // the key, not its colon
		}
		switch {
		case len(g.open) > MaxDepth:
			return src.atToken(place, "nested deeper than %d levels", MaxDepth)
		case limit > 0:
			return src.atToken(place, "more than %d keys in one map", limit)
		}
	}
	return nil
}

// unwanted names what a token is, if it is YAML that pipe does not read.
func unwanted(tk *token.Token, index int) string {
	switch tk.Type {
	case token.AnchorType:
		return "anchors (&name) are not read here"
	case token.AliasType:
		return "aliases (*name) are not read here"
	case token.MergeKeyType:
		return "merge keys (<<) are not read here"
	case token.TagType:
		return "tags (" + tk.Value + ") are not read here"
	case token.MappingKeyType:
		return "explicit keys (?) are not read here"
	case token.DirectiveType:
		return "directives (%) are not read here"
	case token.DocumentHeaderType:
		if index > 0 && tk.Prev != nil && tk.Prev.Type != token.CommentType {
			return "a second document begins here"
		}
	case token.DocumentEndType:
		return "document ends (...) are not read here"
	}
	return ""
}

// nesting follows which collections are open.
type nesting struct{ open []collection }

type collection struct {
	bracket byte // '[' or '{', or 0 for a block collection
	column  int  // of a block collection
	list    bool
	keys    int
	stages  bool // the last key was "stages"
}

// follow takes the next token. It returns the limit that a map broke, or 0.
func (g *nesting) follow(tk *token.Token) int {
	switch tk.Type {
	case token.SequenceStartType:
		g.open = append(g.open, collection{bracket: '['})
	case token.MappingStartType:
		g.open = append(g.open, collection{bracket: '{'})
	case token.SequenceEndType, token.MappingEndType:
		if n := len(g.open); n > 0 && g.open[n-1].bracket != 0 {
			g.open = g.open[:n-1]
		}
	case token.SequenceEntryType:
		if !g.inFlow() {
			g.block(tk.Position.Column, true)
		}
	case token.MappingValueType:
		return g.key(tk.Prev)
	}
	return 0
}

func (g *nesting) inFlow() bool { return len(g.open) > 0 && g.open[len(g.open)-1].bracket != 0 }

// block makes the block collection at a column the innermost one. A list may
// stand at the column of the map that holds it.
func (g *nesting) block(column int, list bool) *collection {
	for len(g.open) > 0 {
		top := g.open[len(g.open)-1]
		if top.column < column || top.column == column && (top.list == list || list) {
			break
		}
		g.open = g.open[:len(g.open)-1]
	}
	if n := len(g.open); n == 0 || g.open[n-1].column != column || g.open[n-1].list != list {
		g.open = append(g.open, collection{column: column, list: list})
	}
	return &g.open[len(g.open)-1]
}

// key counts a map key.
func (g *nesting) key(name *token.Token) int {
	if name == nil {
		return 0
	}
	var c *collection
	if g.inFlow() {
		c = &g.open[len(g.open)-1]
	} else {
		c = g.block(name.Position.Column, false)
	}
	c.keys++
	c.stages = name.Value == "stages"
	limit := MaxKeys
	if n := len(g.open); n == 2 && g.open[0].stages {
		limit = MaxStages
	}
	if c.keys > limit {
		return limit
	}
	return 0
}
