package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Value is what a key is made of: nil, bool, int64, time.Duration, float64,
// string, Digest, []Value or map[string]Value. Nothing else can be encoded.
type Value = any

// Description is all of an action but its inputs. With their ports its digest is the
// action's family.
type Description struct {
	Kind, Version string
	Params        map[string]Value
	Outputs       [][2]string // port name, "file" or "folder"

	// What is declared of the world outside. An empty one is no part of the encoding.
	Env     map[string]Value // variable to value, nil if it is not set
	Tools   map[string]Value // program to the Digest of its file
	Secrets []string         // variables, sorted; never their values
}

// InputContent is what is at an input port, of which an action has each once.
type InputContent struct {
	Port      string
	Object    Object
	Reference string // of builtin: and hf: sources, where the port asks for it
}

// MakeKey returns the key of an action; its inputs may stand in any order. It panics on
// a Value that cannot be encoded, which is a bug.
func MakeKey(d Description, inputs []InputContent) Key {
	return named(keyMagic, d, byPort(inputs))
}

// Preimage returns what the key of an action is made of, encoded.
func Preimage(d Description, inputs []InputContent) []byte {
	inputs = byPort(inputs)
	b := appendCount(make([]byte, 0, usualText), 'm', 2)
	b = d.appendTo(appendString(b, "description"), inputs)
	return appendInputs(appendString(b, "inputs"), inputs)
}

const (
	familyMagic   = "pipe family 1\n"
	keyMagic      = "pipe key 1\n"
	stateKeyMagic = "pipe state 1\n"
	usualText     = 1 << 10 // bytes that most descriptions and inputs take less than
)

// named is the digest of an action's family and of what is at its inputs, which are in
// order, for one use.
func named(magic string, d Description, inputs []InputContent) Key {
	var text [usualText]byte // which need not leave the stack
	family := sha256.Sum256(d.appendTo(append(text[:0], familyMagic...), inputs))
	return sha256.Sum256(appendInputs(append(append(text[:0], magic...), family[:]...), inputs))
}

func byPort(inputs []InputContent) []InputContent {
	order := func(a, b InputContent) int { return strings.Compare(a.Port, b.Port) }
	if !slices.IsSortedFunc(inputs, order) {
		inputs = slices.SortedFunc(slices.Values(inputs), order)
	}
	return inputs
}

// appendTo appends the description of an action with such inputs, which are in order, as
// AppendValue would if it were a map.
func (d Description) appendTo(b []byte, inputs []InputContent) []byte {
	count := 5
	for _, more := range []int{len(d.Env), len(d.Tools), len(d.Secrets)} {
		count += min(more, 1)
	}
	b = appendCount(b, 'm', count)
	if len(d.Env) > 0 {
		b = AppendValue(appendString(b, "env"), d.Env)
	}
	b = appendCount(appendString(b, "inputs"), 'l', len(inputs))
	for _, in := range inputs {
		b = appendText(b, in.Port)
	}
	b = appendText(appendString(b, "kind"), d.Kind)
	b = appendCount(appendString(b, "outputs"), 'l', len(d.Outputs))
	for _, o := range d.Outputs {
		b = appendText(appendText(appendCount(b, 'l', len(o)), o[0]), o[1])
	}
	b = AppendValue(appendString(b, "params"), d.Params)
	if len(d.Secrets) > 0 {
		b = appendCount(appendString(b, "secrets"), 'l', len(d.Secrets))
		for _, name := range d.Secrets {
			b = appendText(b, name)
		}
	}
	if len(d.Tools) > 0 {
		b = AppendValue(appendString(b, "tools"), d.Tools)
	}
	return appendText(appendString(b, "version"), d.Version)
}

// appendInputs appends what is at the inputs, which are in order, as AppendValue would a
// map of maps.
func appendInputs(b []byte, inputs []InputContent) []byte {
	b = appendCount(b, 'm', len(inputs))
	for _, in := range inputs {
		count := 2 + min(len(in.Reference), 1)
		b = appendCount(appendString(b, in.Port), 'm', count)
		b = append(append(appendString(b, "digest"), 'h'), in.Object.Digest[:]...)
		b = appendText(appendString(b, "kind"), string(in.Object.Kind))
		if in.Reference != "" {
			b = appendText(appendString(b, "reference"), in.Reference)
		}
	}
	return b
}

// AppendValue appends the encoding of v (docs/cache-format.md, "E").
func AppendValue(b []byte, v Value) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'n')
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
	case time.Duration:
		return AppendValue(b, int64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			panic("internal error: cache: a key holds a number that is not finite")
		}
		return binary.BigEndian.AppendUint64(append(b, 'd'), math.Float64bits(v+0)) // -0 + 0 = 0
	case string:
		return appendText(b, v)
	case Digest:
		return append(append(b, 'h'), v[:]...)
	case []Value:
		b = appendCount(b, 'l', len(v))
		for _, item := range v {
			b = AppendValue(b, item)
		}
		return b
	case map[string]Value:
		b = appendCount(b, 'm', len(v))
		names := make([]string, 0, 8) // which need not leave the stack
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			b = AppendValue(appendString(b, name), v[name])
		}
		return b
	}
	panic(fmt.Sprintf("internal error: cache: a key holds a %T", v))
}

// appendCount begins a list or a map.
func appendCount(b []byte, tag byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, tag), uint32(n))
}

// appendText appends a string as a Value, appendString as a map's key.
func appendText(b []byte, s string) []byte { return appendString(append(b, 's'), s) }

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

var errEncoding = errors.New("not an encoded value")

// maxValueDepth bounds the recursion of ParseValue; parameters nest less.
const maxValueDepth = 64

// ParseValue reads what AppendValue wrote: all of b, in the one form there is.
// Durations come back as int64.
func ParseValue(b []byte) (Value, error) {
	p := valueParser{rest: b}
	v, err := p.value(0)
	if err == nil && len(p.rest) > 0 {
		err = errEncoding
	}
	return v, err
}

type valueParser struct{ rest []byte }

func (p *valueParser) take(n int) ([]byte, error) {
	if n > len(p.rest) {
		return nil, errEncoding
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b, nil
}

func (p *valueParser) count() (int, error) {
	b, err := p.take(4)
	if err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint32(b))
	if n > len(p.rest) { // every element takes a byte at least
		return 0, errEncoding
	}
	return n, nil
}

func (p *valueParser) str() (string, error) {
	n, err := p.count()
	if err != nil {
		return "", err
	}
	b, err := p.take(n)
	return string(b), err
}

func (p *valueParser) value(depth int) (Value, error) {
	tag, err := p.take(1)
	if err != nil || depth > maxValueDepth {
		return nil, errEncoding
	}
	switch tag[0] {
	case 'n':
		return nil, nil
	case 't', 'f':
		return tag[0] == 't', nil
	case 'i', 'd':
		b, err := p.take(8)
		if err != nil {
			return nil, err
		}
		bits := binary.BigEndian.Uint64(b)
		if tag[0] == 'i' {
			return int64(bits), nil
		}
		f := math.Float64frombits(bits)
		if math.IsNaN(f) || math.IsInf(f, 0) || f == 0 && bits != 0 {
			return nil, errEncoding
		}
		return f, nil
	case 's':
		return p.str()
	case 'h':
		b, err := p.take(len(Digest{}))
		if err != nil {
			return nil, err
		}
		return Digest(b), nil
	case 'l':
		return p.list(depth)
	case 'm':
		return p.dictionary(depth)
	}
	return nil, errEncoding
}

func (p *valueParser) list(depth int) (Value, error) {
	n, err := p.count()
	if err != nil {
		return nil, err
	}
	list := make([]Value, n)
	for i := range list {
		if list[i], err = p.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (p *valueParser) dictionary(depth int) (Value, error) {
	n, err := p.count()
	if err != nil {
		return nil, err
	}
	m, last := make(map[string]Value, n), ""
	for i := range n {
		name, err := p.str()
		if err != nil || i > 0 && name <= last {
			return nil, errEncoding
		}
		if m[name], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		last = name
	}
	return m, nil
}
