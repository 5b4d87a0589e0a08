package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Value is what a key is made of: nil, bool, int64, time.Duration, float64,
// string, Digest, []Value or map[string]Value. Nothing else can be encoded.
type Value = any

// Description is all of an action but the content of its inputs. Its digest is
// the action's family.
type Description struct {
	Kind, Version string
	Params        map[string]Value
	Inputs        []string    // connected ports, sorted
	Outputs       [][2]string // port name, "file" or "folder"

	// What is declared of the world outside. An empty one is no part of the encoding.
	Env     map[string]Value // variable to value, nil if it is not set
	Tools   map[string]Value // program to the Digest of its file
	Secrets []string         // variables, sorted; never their values
}

func (d Description) value() Value {
	inputs := make([]Value, len(d.Inputs))
	for i, name := range d.Inputs {
		inputs[i] = name
	}
	outputs := make([]Value, len(d.Outputs))
	for i, o := range d.Outputs {
		outputs[i] = []Value{o[0], o[1]}
	}
	v := map[string]Value{"kind": d.Kind, "version": d.Version, "params": d.Params, "inputs": inputs, "outputs": outputs}
	if len(d.Env) > 0 {
		v["env"] = d.Env
	}
	if len(d.Tools) > 0 {
		v["tools"] = d.Tools
	}
	if len(d.Secrets) > 0 {
		secrets := make([]Value, len(d.Secrets))
		for i, name := range d.Secrets {
			secrets[i] = name
		}
		v["secrets"] = secrets
	}
	return v
}

func inputsValue(inputs map[string]InputContent) map[string]Value {
	in := make(map[string]Value, len(inputs))
	for port, c := range inputs {
		entry := map[string]Value{"kind": string(c.Object.Kind), "digest": c.Object.Digest}
		if c.Reference != "" {
			entry["reference"] = c.Reference
		}
		in[port] = entry
	}
	return in
}

// InputContent is what is at an input port.
type InputContent struct {
	Object    Object
	Reference string // of builtin: and hf: sources, where the port asks for it
}

// MakeKey returns the key of an action and its pre-image. It panics on a Value
// that cannot be encoded, which is a bug.
func MakeKey(d Description, inputs map[string]InputContent) (Key, []byte) {
	var one, other [usualText]byte
	hashed := AppendValue(append(one[:0], familyMagic...), d.value())
	family, description := sha256.Sum256(hashed), hashed[len(familyMagic):]
	hashed = AppendValue(append(append(other[:0], keyMagic...), family[:]...), inputsValue(inputs))
	key, in := sha256.Sum256(hashed), hashed[len(keyMagic)+len(family):]

	// The pre-image is a map like any other, of what is encoded already.
	preimage := append(make([]byte, 0, len(description)+len(in)+32), 'm', 0, 0, 0, 2)
	preimage = append(appendString(preimage, "description"), description...)
	return key, append(appendString(preimage, "inputs"), in...)
}

const (
	familyMagic = "pipe family 1\n"
	keyMagic    = "pipe key 1\n"
	usualText   = 1 << 10 // bytes that most descriptions and inputs take less than
)

func (d Description) family() [sha256.Size]byte {
	return sha256.Sum256(AppendValue([]byte(familyMagic), d.value()))
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
		return appendString(append(b, 's'), v)
	case Digest:
		return append(append(b, 'h'), v[:]...)
	case []Value:
		b = binary.BigEndian.AppendUint32(append(b, 'l'), uint32(len(v)))
		for _, item := range v {
			b = AppendValue(b, item)
		}
		return b
	case map[string]Value:
		b = binary.BigEndian.AppendUint32(append(b, 'm'), uint32(len(v)))
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
