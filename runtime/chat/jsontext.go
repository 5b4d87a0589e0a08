package chat

import (
	"unicode/utf16"
	"unicode/utf8"
)

// text takes a string.
func (s *scanner) text() (string, *lineError) {
	start := s.pos
	s.pos++
	var out []byte // nil as long as nothing was escaped
	from := s.pos  // what follows was not copied to out yet
	for s.pos < len(s.line) {
		switch c := s.line[s.pos]; {
		case c == '"':
			rest := s.line[from:s.pos]
			s.pos++
			if out == nil {
				return rest, nil
			}
			return string(append(out, rest...)), nil
		case c < ' ':
			return "", wrong(s.pos, "not JSON: control character 0x%02x in a string", c).
				withHint("write \\n for a line break and \\t for a tab")
		case c == '\\':
			out = append(out, s.line[from:s.pos]...)
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			from = s.pos
		default:
			s.pos++
		}
	}
	return "", wrong(start, "not JSON: a string without its closing quotation mark")
}

// escape takes an escape sequence.
func (s *scanner) escape() (rune, *lineError) {
	start := s.pos
	s.pos++
	if s.pos == len(s.line) {
		return 0, wrong(start, "not JSON: the line ends inside an escape")
	}
	c := s.line[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return s.unicode(start)
	}
	return 0, wrong(start, "not JSON: \\%s is no escape", s.line[s.pos-1:s.pos]).withHint(`write \\ for a backslash`)
}

// unicode takes the digits of \uXXXX, and a second one that makes a pair with it.
func (s *scanner) unicode(start int) (rune, *lineError) {
	high, ok := s.hex()
	if !ok {
		return 0, wrong(start, "not JSON: \\u without four hexadecimal digits")
	}
	if !utf16.IsSurrogate(high) {
		return high, nil
	}
	if s.pos+2 <= len(s.line) && s.line[s.pos:s.pos+2] == `\u` {
		s.pos += 2
		if low, ok := s.hex(); ok {
			if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
				return r, nil
			}
		}
	}
	return 0, wrong(start, "half a surrogate pair, %s, is no character", s.line[start:start+6])
}

func (s *scanner) hex() (rune, bool) {
	if s.pos+4 > len(s.line) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s.line[s.pos : s.pos+4]) {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	s.pos += 4
	return r, true
}

// plain says whether a string is its own JSON.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return utf8.ValidString(s)
}

// appendText appends s as a JSON string that escapes what it must and no more.
func appendText(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	if plain(s) {
		return append(append(dst, s...), '"')
	}
	for _, r := range s { // what is not UTF-8 becomes U+FFFD
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == '\b':
			dst = append(dst, '\\', 'b')
		case r == '\f':
			dst = append(dst, '\\', 'f')
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
