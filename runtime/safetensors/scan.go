package safetensors

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// scanner reads JSON from data and knows the byte that it is at. It checks the
// grammar only; the caller has checked that data is UTF-8.
type scanner struct {
	data []byte
	pos  int
}

// syntaxError is where and why the text is not the JSON that was expected.
type syntaxError struct {
	pos     int
	message string
}

func (e *syntaxError) Error() string { return e.message }

func (s *scanner) fail(pos int, format string, args ...any) error {
	return &syntaxError{pos, fmt.Sprintf(format, args...)}
}

// peek skips white space and returns the next byte without taking it; 0 at the
// end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// atEnd says whether only white space is left.
func (s *scanner) atEnd() bool {
	s.peek()
	return s.pos == len(s.data)
}

// found describes the next byte, for a message.
func (s *scanner) found() string {
	if s.atEnd() {
		return "the end"
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return fmt.Sprintf("%q", r)
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c {
		return s.fail(s.pos, "expected '%c', found %s", c, s.found())
	}
	s.pos++
	return nil
}

// object reads an object and calls member for each key, with the byte the key
// is at, to read its value. A key that occurs twice is an error.
func (s *scanner) object(member func(key string, at int) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	seen := map[string]bool{}
	for {
		s.peek()
		at := s.pos
		key, err := s.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return s.fail(at, "key %.100q occurs twice", key)
		}
		seen[key] = true
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(key, at); err != nil {
			return err
		}
		if s.peek() == '}' {
			s.pos++
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// array reads an array and calls element to read each element.
func (s *scanner) array(element func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.peek() == ']' {
			s.pos++
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// text reads a string.
func (s *scanner) text() (string, error) {
	if s.peek() != '"' {
		return "", s.fail(s.pos, "expected a string, found %s", s.found())
	}
	start := s.pos
	escaped := false
	for i := start + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			raw := s.data[start:s.pos]
			if !escaped {
				return string(raw[1 : len(raw)-1]), nil
			}
			return s.unquote(start, raw)
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			return "", s.fail(i, "control character 0x%02x in a string", c)
		}
	}
	return "", s.fail(start, "string without an end")
}

func (s *scanner) unquote(start int, raw []byte) (string, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", s.fail(start, "bad escape in string %.100s", raw)
	}
	// Unmarshal turns half a surrogate pair into U+FFFD; then two names that
	// differ could become equal.
	lower := strings.ToLower(string(raw))
	if strings.Count(text, "\ufffd") > strings.Count(lower, "\ufffd")+strings.Count(lower, `\ufffd`) {
		return "", s.fail(start, "half a surrogate pair in string %.100s", raw)
	}
	return text, nil
}

// natural reads an integer from 0 to 2^63-1, in plain decimal.
func (s *scanner) natural() (int64, error) {
	s.peek()
	start := s.pos
	for s.pos < len(s.data) && strings.IndexByte("+-.0123456789eE", s.data[s.pos]) >= 0 {
		s.pos++
	}
	digits := s.data[start:s.pos]
	if len(digits) == 0 {
		return 0, s.fail(start, "expected a number, found %s", s.found())
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, s.fail(start, "%.40s is not a plain whole number", digits)
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			if digits[0] == '-' {
				return 0, s.fail(start, "%.40s is negative", digits)
			}
			return 0, s.fail(start, "%.40s is not a plain whole number", digits)
		}
		if n > (math.MaxInt64-int64(c-'0'))/10 {
			return 0, s.fail(start, "%.40s is too large", digits)
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// maxDepth is how deep values may nest that are only skipped: what an index
// holds beside its weight_map is one object of plain values.
const maxDepth = 32

// skip reads any value.
func (s *scanner) skip(depth int) error {
	c := s.peek()
	if depth > maxDepth {
		return s.fail(s.pos, "nested deeper than %d", maxDepth)
	}
	switch c {
	case '{':
		return s.object(func(string, int) error { return s.skip(depth + 1) })
	case '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case '"':
		_, err := s.text()
		return err
	}
	start := s.pos
	for s.pos < len(s.data) && strings.IndexByte(" \t\r\n,]}", s.data[s.pos]) < 0 {
		s.pos++
	}
	if !json.Valid(s.data[start:s.pos]) {
		s.pos = start
		return s.fail(start, "expected a value, found %s", s.found())
	}
	return nil
}
