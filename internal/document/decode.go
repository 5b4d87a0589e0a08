package document

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pipe/internal/problem"
)

// Checker is implemented by structs whose fields depend on one another. Check is
// called after decoding; fields of another type have their zero value, and what it
// says of them is dropped.
type Checker interface {
	// Check calls report for each trouble. field is a path of keys, "health.loss".
	Check(report func(field, message, hint string))
}

// Decode fills *into, a pointer to a struct, from a map node: strictly, so that
// unknown keys, wrong types and values out of bounds are problems, and all of
// them are found. what names the struct in messages ("parameter of
// train-qlora"). A nil node means an empty map; at then gives the place for what
// is missing.
func Decode(n *Node, into any, what string, at *Node) problem.List {
	d := decoder{what: what}
	v := reflect.ValueOf(into).Elem()
	if n == nil {
		n = &Node{Kind: Map, Pos: at.Pos, src: at.src}
	}
	d.value(n, v, Field{Type: v.Type()}, "")
	if c, ok := into.(Checker); ok {
		c.Check(func(field, message, hint string) {
			if d.wrong[topKey(field)] {
				return // it has no value to speak of
			}
			p := n.Find(field).Problem("%s: %s", field, message)
			p.Hint = hint
			d.problems.Add(p)
		})
	}
	return d.problems
}

// Find returns the node at a path of keys, or the deepest one that is there.
func (n *Node) Find(path string) *Node {
	for _, key := range strings.Split(path, ".") {
		next := n.Get(key)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// topKey is the first key of a path: "health" of "health.loss[1]".
func topKey(path string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

type decoder struct {
	what     string
	problems problem.List
	wrong    map[string]bool // top keys of values that could not be decoded
}

func (d *decoder) fail(n *Node, hint, format string, args ...any) {
	p := n.Problem(format, args...)
	p.Hint = hint
	d.problems.Add(p)
}

// value decodes n into v. path names the value in messages.
func (d *decoder) value(n *Node, v reflect.Value, f Field, path string) {
	switch t := v.Type(); {
	case t == nodeType:
		v.Set(reflect.ValueOf(n))
		return
	case t == durationType:
		d.duration(n, v, f, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.Kind == Null {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), f, path)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice, reflect.Array:
		d.list(n, v, f, path)
	case reflect.Map:
		d.dictionary(n, v, f, path)
	case reflect.Bool:
		if n.Kind != Bool {
			d.wrongType(n, path, "true or false", "")
			return
		}
		v.SetBool(n.Bool)
	case reflect.Int, reflect.Int64:
		if n.Kind != Int {
			d.wrongType(n, path, "a whole number", n.numberHint())
			return
		}
		v.SetInt(n.Int)
		d.bounds(n, f, path, float64(n.Int))
	case reflect.Float64:
		if n.Kind != Int && n.Kind != Float {
			d.wrongType(n, path, "a number", n.numberHint())
			return
		}
		v.SetFloat(n.Float)
		d.bounds(n, f, path, n.Float)
	case reflect.String:
		if n.Kind != String {
			d.wrongType(n, path, "a string", quoteHint(n))
			return
		}
		v.SetString(n.Text)
		d.enum(n, f, path)
	default:
		panic(fmt.Sprintf("internal error: document: cannot decode into %s", v.Type()))
	}
}

func quoteHint(n *Node) string {
	if n.Kind == Int || n.Kind == Float || n.Kind == Bool {
		return fmt.Sprintf("in quotes it is a string: %q", n.Text)
	}
	return ""
}

func (d *decoder) wrongType(n *Node, path, want, hint string) {
	if d.wrong == nil {
		d.wrong = map[string]bool{}
	}
	d.wrong[topKey(path)] = true
	d.fail(n, hint, "%s: must be %s, got %s", path, want, n.Describe())
}

func (d *decoder) duration(n *Node, v reflect.Value, f Field, path string) {
	if n.Kind == Int && n.Int == 0 {
		v.SetInt(0)
		return
	}
	if n.Kind != String {
		d.wrongType(n, path, "a duration", "write it with units: 90s, 15m, 1h30m")
		return
	}
	length, err := time.ParseDuration(n.Text)
	if err != nil {
		d.wrongType(n, path, "a duration", "write it with units: 90s, 15m, 1h30m")
		return
	}
	if length < 0 {
		d.fail(n, "", "%s: must not be negative, got %s", path, n.Text)
	}
	v.SetInt(int64(length))
}

func (d *decoder) bounds(n *Node, f Field, path string, value float64) {
	out := func(bound, text string, outside func(float64) bool) {
		if bound == "" {
			return
		}
		limit, err := strconv.ParseFloat(bound, 64)
		if err != nil {
			panic(fmt.Sprintf("internal error: document: bound %q of %s", bound, path))
		}
		if outside(limit) {
			d.fail(n, "", "%s: must be %s %s, got %s", path, text, bound, n.Text)
		}
	}
	out(f.Min, "at least", func(limit float64) bool { return value < limit })
	out(f.Max, "at most", func(limit float64) bool { return value > limit })
	out(f.Above, "above", func(limit float64) bool { return value <= limit })
}

func (d *decoder) enum(n *Node, f Field, path string) {
	if len(f.Enum) == 0 {
		return
	}
	for _, allowed := range f.Enum {
		if n.Text == allowed {
			return
		}
	}
	d.fail(n, Suggest(n.Text, f.Enum), "%s: must be one of %s, got %q", path, strings.Join(f.Enum, ", "), shorten(n.Text))
}

func (d *decoder) list(n *Node, v reflect.Value, f Field, path string) {
	if n.Kind != List {
		d.wrongType(n, path, "a list", "")
		return
	}
	if v.Kind() == reflect.Array {
		if len(n.Items) != v.Len() {
			d.fail(n, "", "%s: must have %d elements, got %d", path, v.Len(), len(n.Items))
			return
		}
	} else {
		v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
	}
	for i, item := range n.Items {
		d.value(item, v.Index(i), f, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (d *decoder) dictionary(n *Node, v reflect.Value, f Field, path string) {
	if n.Kind != Map {
		d.wrongType(n, path, "a map", "")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range n.Entries {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(e.Value, value, f, join(path, e.Key))
		v.SetMapIndex(reflect.ValueOf(e.Key), value)
	}
}

func (d *decoder) structure(n *Node, v reflect.Value, path string) {
	if n.Kind == Null {
		n = &Node{Kind: Map, Pos: n.Pos, src: n.src}
	}
	if n.Kind != Map {
		d.wrongType(n, path, "a map", "")
		return
	}
	fields := Describe(v.Type())
	for _, e := range n.Entries {
		if !slices.ContainsFunc(fields, func(f Field) bool { return f.Name == e.Key }) {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.Name
			}
			p := n.KeyProblem(e, "unknown %s %q", d.what, join(path, e.Key))
			p.Hint = Suggest(e.Key, names)
			d.problems.Add(p)
		}
	}
	for _, f := range fields {
		d.field(n, v.Field(f.Index), f, join(path, f.Name))
	}
}

// field decodes one key of a struct, or its default.
func (d *decoder) field(n *Node, v reflect.Value, f Field, path string) {
	value := n.Get(f.Name)
	if value == nil || value.Kind == Null && f.Type != nodeType && f.Type.Kind() != reflect.Struct {
		switch {
		case value == nil && f.HasValue, value != nil && f.HasValue && f.Type.Kind() != reflect.Pointer:
			setDefault(v, f)
		case f.Required:
			p := n.Problem("%s %q is missing", d.what, path)
			p.Hint = f.Help
			d.problems.Add(p)
		case f.Type.Kind() == reflect.Struct:
			d.value(&Node{Kind: Map, Pos: n.Pos, src: n.src}, v, f, path)
		}
		return
	}
	d.value(value, v, f, path)
}

// setDefault fills a field from its default tag. A default that does not decode is
// a bug of the declaring package.
func setDefault(v reflect.Value, f Field) {
	d := decoder{}
	d.value(defaultNode(f), v, f, f.Name)
	if len(d.problems) > 0 {
		panic(fmt.Sprintf("internal error: document: default %q of %s: %v", f.Default, f.Name, d.problems))
	}
}

// defaultNodes holds the parsed defaults: a plan decodes the same ones for each of its
// stages.
var defaultNodes sync.Map // defaultText to *Node

type defaultText struct {
	text     string
	isString bool
}

func defaultNode(f Field) *Node {
	id := defaultText{f.Default, f.Type.Kind() == reflect.String}
	if known, ok := defaultNodes.Load(id); ok {
		return known.(*Node)
	}
	n, err := Parse("default", []byte("v: "+f.Default))
	if err != nil {
		panic(fmt.Sprintf("internal error: document: default %q of %s: %v", f.Default, f.Name, err))
	}
	node := n.Get("v")
	if node.Kind != String && id.isString {
		node.setString(f.Default)
	}
	defaultNodes.Store(id, node)
	return node
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
