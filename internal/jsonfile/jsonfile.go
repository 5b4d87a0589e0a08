// Package jsonfile reads the small JSON files of a model folder: config.json,
// adapter_config.json. Every value is asked for by name and type, what is wrong
// is collected with its line and column, and unknown keys are left alone.
package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pipe/internal/problem"
)

// maxSize is far above any configuration: Mistral's has a kilobyte.
const maxSize = 4 << 20

// Object is a JSON object. Its methods return the zero value for what is missing
// or wrong, and note the problem; Err has them all. Names are matched exactly.
type Object struct {
	file    *source
	at      int // byte of the file where the object begins
	path    string
	members map[string]member
}

// source is shared by the objects of one file.
type source struct {
	name     string
	data     []byte
	problems problem.List
}

type member struct {
	at  int // byte of the file where the value begins
	raw json.RawMessage
}

// Read reads a file that holds one object. A file that cannot be read gives the
// error of package os; one that is no such object a problem.List.
func Read(path string) (*Object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse is Read for bytes that are there already; name stands in problems.
func Parse(name string, data []byte) (*Object, error) {
	src := &source{name: name, data: data}
	if len(data) > maxSize {
		return nil, problem.List{problem.At(name, 0, 0, "file is larger than %d MiB", maxSize>>20)}
	}
	if !utf8.Valid(data) {
		i := 0
		for r, n := utf8.DecodeRune(data); r != utf8.RuneError || n != 1; r, n = utf8.DecodeRune(data[i:]) {
			i += n
		}
		src.add(i, "byte 0x%02x is not UTF-8", data[i])
		return nil, src.problems.Err()
	}
	bad := (*json.SyntaxError)(nil)
	if err := json.Unmarshal(data, new(json.RawMessage)); errors.As(err, &bad) {
		src.add(max(int(bad.Offset)-1, 0), "not JSON: %v", err)
		return nil, src.problems.Err()
	}
	lead := len(data) - len(bytes.TrimLeft(data, " \t\r\n"))
	o := src.object("", data[lead:], lead)
	if len(src.problems) > 0 {
		return nil, src.problems.Err()
	}
	return o, nil
}

// add notes a problem at a byte of the file.
func (s *source) add(at int, format string, args ...any) *problem.Problem {
	before := s.data[:min(at, len(s.data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	text, _, _ := bytes.Cut(s.data[start:], []byte("\n"))
	p := problem.At(s.name, bytes.Count(before, []byte("\n"))+1, len(before)-start+1, format, args...)
	p.Source = string(bytes.TrimRight(text, "\r"))
	s.problems.Add(p)
	return &s.problems[len(s.problems)-1]
}

// object reads the members of the object that raw, which is known to be JSON,
// holds.
func (s *source) object(path string, raw []byte, at int) *Object {
	o := &Object{file: s, at: at, path: path, members: make(map[string]member)}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, _ := d.Token(); open != json.Delim('{') {
		s.add(at, "must be a JSON object")
		return o
	}
	for d.More() {
		key, err := d.Token()
		name, _ := key.(string)
		keyEnd := at + int(d.InputOffset())
		var m member
		if err = errors.Join(err, d.Decode(&m.raw)); err != nil {
			panic("internal error: jsonfile: " + err.Error())
		}
		m.at = at + int(d.InputOffset()) - len(m.raw)
		if _, twice := o.members[name]; twice {
			s.add(keyEnd-1, "key %q stands twice in one object", name)
		}
		o.members[name] = m
	}
	return o
}

// Err returns all problems that were found so far in the file, or nil.
func (o *Object) Err() error { return o.file.problems.Err() }

// Has says whether key is there with a value other than null.
func (o *Object) Has(key string) bool {
	m, ok := o.members[key]
	return ok && string(m.raw) != "null"
}

// Defined says whether key is there, be it null.
func (o *Object) Defined(key string) bool {
	_, ok := o.members[key]
	return ok
}

// Raw returns the JSON of a value on one line, or "" if there is none.
func (o *Object) Raw(key string) string {
	var b bytes.Buffer
	if json.Compact(&b, o.members[key].raw) != nil {
		return string(o.members[key].raw)
	}
	return b.String()
}

// Keys returns the names of all members, sorted.
func (o *Object) Keys() []string {
	return slices.Sorted(maps.Keys(o.members))
}

// Problem notes what is wrong with the value of key, at its place; without such
// a value, at the object's. The message begins with the key.
func (o *Object) Problem(key, format string, args ...any) *problem.Problem {
	at := o.at
	if m, ok := o.members[key]; ok {
		at = m.at
	}
	return o.file.add(at, "%s: %s", o.path+key, fmt.Sprintf(format, args...))
}

// value returns the value of key if it is there and not null; a missing one is
// noted.
func (o *Object) value(key, want string) (string, bool) {
	if !o.Has(key) {
		got := "it is missing"
		if o.Defined(key) {
			got = "got null"
		}
		o.Problem(key, "must be %s, %s", want, got)
		return "", false
	}
	return string(o.members[key].raw), true
}

func (o *Object) wrong(key, want string) {
	raw := o.members[key].raw
	text := string(raw)
	if len(raw) > 40 {
		text = strings.ToValidUTF8(string(raw[:40]), "") + "…"
	}
	o.Problem(key, "must be %s, got %s", want, text)
}

// Int returns a whole number.
func (o *Object) Int(key string) int {
	const want = "a whole number"
	raw, ok := o.value(key, want)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(raw, 10, strconv.IntSize)
	if err != nil {
		o.wrong(key, want)
	}
	return int(n)
}

// Float returns a finite number.
func (o *Object) Float(key string) float64 {
	const want = "a number"
	raw, ok := o.value(key, want)
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil || math.IsInf(f, 0) {
		o.wrong(key, want)
		return 0
	}
	return f
}

// Bool returns true or false.
func (o *Object) Bool(key string) bool {
	raw, ok := o.value(key, "true or false")
	if ok && raw != "true" && raw != "false" {
		o.wrong(key, "true or false")
	}
	return raw == "true"
}

// String returns a string.
func (o *Object) String(key string) string {
	const want = "a string"
	raw, ok := o.value(key, want)
	if !ok {
		return ""
	}
	var s string
	if json.Unmarshal([]byte(raw), &s) != nil {
		o.wrong(key, want)
	}
	return s
}

// Strings returns a list of strings.
func (o *Object) Strings(key string) []string {
	const want = "a list of strings"
	raw, ok := o.value(key, want)
	if !ok {
		return nil
	}
	var list []*string
	if json.Unmarshal([]byte(raw), &list) != nil {
		o.wrong(key, want)
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			o.wrong(key, want)
			return nil
		}
		out[i] = *s
	}
	return out
}

// Ints returns a list of whole numbers.
func (o *Object) Ints(key string) []int {
	const want = "a list of whole numbers"
	raw, ok := o.value(key, want)
	if !ok {
		return nil
	}
	var list []*int
	if json.Unmarshal([]byte(raw), &list) != nil {
		o.wrong(key, want)
		return nil
	}
	out := make([]int, len(list))
	for i, n := range list {
		if n == nil {
			o.wrong(key, want)
			return nil
		}
		out[i] = *n
	}
	return out
}

// Object returns an object within the object. It is empty if it is missing or
// something else, and never nil.
func (o *Object) Object(key string) *Object {
	const want = "an object"
	raw, ok := o.value(key, want)
	if !ok || raw[0] != '{' {
		if ok {
			o.wrong(key, want)
		}
		return &Object{file: o.file, at: o.at, path: o.path + key + "."}
	}
	return o.file.object(o.path+key+".", []byte(raw), o.members[key].at)
}
