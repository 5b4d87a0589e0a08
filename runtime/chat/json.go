package chat

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// valueKind is the type of a JSON value.
type valueKind uint8

const (
	isObject valueKind = iota + 1
	isArray
	isText
	isNumber
	isLiteral // true, false and null
)

func (k valueKind) String() string {
	return [...]string{"nothing", "an object", "an array", "a string", "a number", "a literal"}[k]
}

// value is a JSON value that knows where it stands.
type value struct {
	kind     valueKind
	at       int    // its first byte in the line
	text     string // a string, decoded; a number or literal, as it is spelled
	members  []member
	elements []value
}

type member struct {
	key   string
	at    int // the key's first byte in the line
	value value
}

// get returns the member of an object with this key.
func (v *value) get(key string) (*value, bool) {
	for i := range v.members {
		if v.members[i].key == key {
			return &v.members[i].value, true
		}
	}
	return nil, false
}

// lineError is what is wrong at a byte of a line.
type lineError struct {
	at            int
	message, hint string
}

func (e *lineError) Error() string { return e.message }

func wrong(at int, format string, args ...any) *lineError {
	return &lineError{at: at, message: fmt.Sprintf(format, args...)}
}

func (e *lineError) withHint(hint string) *lineError {
	e.hint = hint
	return e
}

// maxDepth is how deep values may nest. A record needs three levels; the rest is
// for what others keep beside the messages.
const maxDepth = 64

// scanner reads one line of JSON, which is UTF-8.
type scanner struct {
	line string
	pos  int
}

// parseLine reads a line that holds one JSON value and nothing else. It refuses
// keys that occur twice in an object, halves of surrogate pairs and what is not
// UTF-8.
func parseLine(line string) (value, *lineError) {
	for i := 0; i < len(line) && !utf8.ValidString(line); {
		r, n := utf8.DecodeRuneInString(line[i:])
		if r == utf8.RuneError && n == 1 {
			return value{}, wrong(i, "byte 0x%02x is not UTF-8", line[i]).withHint(encodingHint(line[i:]))
		}
		i += n
	}
	s := &scanner{line: line}
	v, err := s.value(0)
	if err != nil {
		return value{}, err
	}
	if s.peek(); s.pos < len(line) {
		return value{}, wrong(s.pos, "%s after the end of the line's value", s.found())
	}
	return v, nil
}

// encodingHint guesses what a line is that is not UTF-8.
func encodingHint(rest string) string {
	if len(rest) > 1 && (rest[:2] == "\xff\xfe" || rest[:2] == "\xfe\xff") {
		return "the file is UTF-16: save it as UTF-8"
	}
	return "save the file as UTF-8"
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.line); s.pos++ {
		switch c := s.line[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// found describes what comes next.
func (s *scanner) found() string {
	if s.peek(); s.pos >= len(s.line) {
		return "the end of the line"
	}
	r, _ := utf8.DecodeRuneInString(s.line[s.pos:])
	if r == '\ufeff' {
		return "a byte order mark"
	}
	return strconv.QuoteRune(r)
}

func (s *scanner) value(depth int) (value, *lineError) {
	c := s.peek()
	if depth > maxDepth {
		return value{}, wrong(s.pos, "values nest deeper than %d", maxDepth)
	}
	switch {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		at := s.pos
		text, err := s.text()
		return value{kind: isText, at: at, text: text}, err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if len(s.line)-s.pos >= len(word) && s.line[s.pos:s.pos+len(word)] == word {
			s.pos += len(word)
			return value{kind: isLiteral, at: s.pos - len(word), text: word}, nil
		}
	}
	return value{}, wrong(s.pos, "not JSON: expected a value, found %s", s.found())
}

func (s *scanner) object(depth int) (value, *lineError) {
	v := value{kind: isObject, at: s.pos}
	s.pos++
	if s.peek() == '}' {
		s.pos++
		return v, nil
	}
	v.members = make([]member, 0, 2) // as a message has
	var seen map[string]bool
	for {
		if s.peek() != '"' {
			return v, wrong(s.pos, "not JSON: expected a key in quotation marks, found %s", s.found())
		}
		at := s.pos
		key, err := s.text()
		if err != nil {
			return v, err
		}
		if twice(v.members, key, &seen) {
			return v, wrong(at, "key %.100q occurs twice", key)
		}
		if s.peek() != ':' {
			return v, wrong(s.pos, "not JSON: expected ':' after key %.100q, found %s", key, s.found())
		}
		s.pos++
		element, err := s.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.members = append(v.members, member{key, at, element})
		if end, err := s.listEnd('}'); end || err != nil {
			return v, err
		}
	}
}

// twice says whether a key is among the members. seen holds their keys once they are many.
func twice(members []member, key string, seen *map[string]bool) bool {
	const many = 16
	if len(members) < many {
		return slices.ContainsFunc(members, func(m member) bool { return m.key == key })
	}
	if *seen == nil {
		*seen = map[string]bool{}
		for _, m := range members {
			(*seen)[m.key] = true
		}
	}
	known := (*seen)[key]
	(*seen)[key] = true
	return known
}

func (s *scanner) array(depth int) (value, *lineError) {
	v := value{kind: isArray, at: s.pos}
	s.pos++
	if s.peek() == ']' {
		s.pos++
		return v, nil
	}
	v.elements = make([]value, 0, 3) // as a conversation with a system message has
	for {
		element, err := s.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.elements = append(v.elements, element)
		if end, err := s.listEnd(']'); end || err != nil {
			return v, err
		}
	}
}

// listEnd takes a comma, or the end of an object or array.
func (s *scanner) listEnd(end byte) (bool, *lineError) {
	switch s.peek() {
	case end:
		s.pos++
		return true, nil
	case ',':
		s.pos++
		return false, nil
	}
	return false, wrong(s.pos, "not JSON: expected ',' or '%c', found %s", end, s.found())
}

// number takes a number as JSON spells it: -?(0|[1-9]d*)(.d+)?([eE][+-]?d+)?
func (s *scanner) number() (value, *lineError) {
	start := s.pos
	digits := func() bool {
		from := s.pos
		for s.pos < len(s.line) && s.line[s.pos] >= '0' && s.line[s.pos] <= '9' {
			s.pos++
		}
		return s.pos > from
	}
	take := func(set string) bool {
		for i := range len(set) {
			if s.pos < len(s.line) && s.line[s.pos] == set[i] {
				s.pos++
				return true
			}
		}
		return false
	}
	take("-")
	ok := take("0") || digits()
	if ok && take(".") {
		ok = digits()
	}
	if ok && take("eE") {
		take("+-")
		ok = digits()
	}
	if !ok || digits() {
		return value{}, wrong(start, "not JSON: a number that begins with %q", s.line[start:min(s.pos+1, len(s.line))])
	}
	return value{kind: isNumber, at: start, text: s.line[start:s.pos]}, nil
}

// appendJSON appends v in canonical form.
func (v *value) appendJSON(dst []byte) []byte {
	switch v.kind {
	case isObject:
		dst = append(dst, '{')
		for i := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendText(dst, v.members[i].key), ':')
			dst = v.members[i].value.appendJSON(dst)
		}
		return append(dst, '}')
	case isArray:
		dst = append(dst, '[')
		for i := range v.elements {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = v.elements[i].appendJSON(dst)
		}
		return append(dst, ']')
	case isText:
		return appendText(dst, v.text)
	}
	return append(dst, v.text...)
}
