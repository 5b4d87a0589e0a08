package document

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	yamlerrors "github.com/goccy/go-yaml"

	"pipe/internal/problem"
)

// source is the text that nodes point into.
type source struct {
	name  string
	text  []byte
	lines [][]byte
}

func newSource(name string, text []byte) *source {
	return &source{name: name, text: text, lines: bytes.Split(text, []byte("\n"))}
}

// at returns a problem with its source line.
func (s *source) at(line, col int, format string, args ...any) *problem.Problem {
	p := problem.At(s.name, line, col, format, args...)
	if line >= 1 && line <= len(s.lines) && len(s.lines[line-1]) <= maxLine {
		p.Source = string(s.lines[line-1])
	}
	return &p
}

func (s *source) atToken(tk *token.Token, format string, args ...any) *problem.Problem {
	pos := s.position(tk)
	return s.at(pos.Line, pos.Col, format, args...)
}

// position turns a token's place, whose column counts characters, into one whose
// column counts bytes.
func (s *source) position(tk *token.Token) Position {
	line, column := tk.Position.Line, max(tk.Position.Column, 1)
	if line < 1 || line > len(s.lines) {
		return Position{Line: line, Col: column}
	}
	rest, col := s.lines[line-1], 1
	for range column - 1 {
		if len(rest) == 0 {
			break
		}
		_, size := utf8.DecodeRune(rest)
		rest, col = rest[size:], col+size
	}
	return Position{Line: line, Col: col}
}

// unixLines ends every line with a line feed alone. The YAML library counts a line twice
// that has a comment and ends with a carriage return, too.
func unixLines(text []byte) []byte {
	if !bytes.ContainsRune(text, '\r') {
		return text
	}
	return bytes.TrimSuffix(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"))
}

// Parse reads one YAML document. name stands in every problem. The error is a
// problem.List; with it there is no Node. An empty document is an empty map.
func Parse(name string, text []byte) (node *Node, err error) {
	text = unixLines(text)
	src := newSource(name, text)
	defer func() {
		// The YAML library is known to panic on some inputs that are no YAML.
		if r := recover(); r != nil {
			node, err = nil, problem.List{*src.at(1, 1, "not readable as YAML (%v)", r)}
		}
	}()
	if p := guardBytes(src); p != nil {
		return nil, problem.List{*p}
	}
	tokens := lexer.Tokenize(string(text))
	if p := guardTokens(src, tokens); p != nil {
		return nil, problem.List{*p}
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, problem.List{syntaxProblem(src, err)}
	}
	return build(src, file)
}

// syntaxProblem turns a parser's error into ours.
func syntaxProblem(src *source, err error) problem.Problem {
	var syntax yamlerrors.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		return *src.atToken(syntax.GetToken(), "%s", syntax.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return problem.At(src.name, 1, 1, "%s", first)
}

func build(src *source, file *ast.File) (*Node, error) {
	b := builder{src: src}
	var root *Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if doc.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			return nil, problem.List{*src.atToken(doc.Body.GetToken(), "a second document begins here")}
		}
		root = b.node(doc.Body)
	}
	if root == nil {
		root = &Node{Kind: Map, src: src, Pos: Position{Line: 1, Col: 1}}
	}
	if err := b.problems.Err(); err != nil {
		return nil, err
	}
	return root, nil
}

// builder turns the library's syntax tree into Nodes.
type builder struct {
	src      *source
	problems problem.List
}

func (b *builder) node(n ast.Node) *Node {
	node := &Node{src: b.src, Pos: b.src.position(n.GetToken())}
	switch n := n.(type) {
	case *ast.MappingNode:
		node.Kind = Map
		b.entries(node, n.Values)
		if n.IsFlowStyle {
			break
		}
		if len(node.Entries) > 0 {
			node.Pos = node.Entries[0].Pos
		}
	case *ast.MappingValueNode:
		node.Kind = Map
		b.entries(node, []*ast.MappingValueNode{n})
		node.Pos = node.Entries[0].Pos
	case *ast.SequenceNode:
		node.Kind = List
		for _, item := range n.Values {
			node.Items = append(node.Items, b.node(item))
		}
	case *ast.LiteralNode:
		node.setString(n.Value.Value)
	case *ast.StringNode:
		tk := n.GetToken()
		if tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType {
			node.setString(n.Value)
		} else {
			node.setPlain(n.Value)
		}
	case *ast.NullNode:
		node.Kind = Null
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		node.setPlain(strings.TrimSpace(n.GetToken().Value))
	default:
		b.problems.Add(*b.src.atToken(n.GetToken(), "%s is not read here", describeAST(n)))
	}
	if strings.Contains(node.Text, "\x00") {
		b.nul(node.Pos)
	}
	return node
}

// nul reports a NUL character, written as an escape: no argument, environment
// variable or path can hold one.
func (b *builder) nul(pos Position) {
	p := b.src.at(pos.Line, pos.Col, "the string holds a NUL character")
	p.Hint = "programs cannot be handed one; pass bytes in a file"
	b.problems.Add(*p)
}

func (b *builder) entries(node *Node, values []*ast.MappingValueNode) {
	seen := make(map[string]Position, len(values))
	for _, v := range values {
		key, ok := v.Key.(ast.Node)
		if !ok {
			continue
		}
		pos := b.src.position(key.GetToken())
		name := key.GetToken().Value
		if s, ok := key.(*ast.StringNode); ok {
			name = s.Value
		}
		if first, twice := seen[name]; twice {
			b.problems.Add(*b.src.at(pos.Line, pos.Col, "key %q stands twice in one map, first in line %d", name, first.Line))
		}
		seen[name] = pos
		if strings.Contains(name, "\x00") {
			b.nul(pos)
		}
		value := &Node{src: b.src, Kind: Null, Pos: pos}
		if v.Value != nil {
			value = b.node(v.Value)
		}
		node.Entries = append(node.Entries, Entry{Key: name, Pos: pos, Value: value})
	}
}

func describeAST(n ast.Node) string {
	return fmt.Sprintf("YAML %s", strings.ToLower(n.Type().String()))
}
