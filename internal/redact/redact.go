// Package redact hides secrets in what a program says.
//
// A secret is looked for in every form in which programs commonly print one: as it
// is, escaped for JSON, URLs or HTML (any mixture of escaped and plain characters), in base64
// (standard and URL-safe, at each of the three alignments, padded or not, wrapped or not) and in hex
// (either case, with or without separators). A secret of several lines is looked for as
// a whole and line by line. What is encoded twice, compressed or encrypted is not found.
//
// A form is a list of elements, each a choice of byte strings: the text of the
// form is one string of each element, in order.
package redact

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Hidden stands where a secret stood.
const Hidden = "***"

// MinLength is how many characters a secret has at least: a shorter one would occur
// by chance, and its mask would tell where.
const MinLength = 6

// Check says why a value cannot be hidden, or returns nil. The error does not hold
// the value.
func Check(secret string) error {
	if n := utf8.RuneCountInString(strings.TrimSpace(secret)); n < MinLength {
		return fmt.Errorf("it has %d characters; under %d cannot be told from other text", n, MinLength)
	}
	if strings.Contains(strings.TrimSpace(secret), "\n") && len(needles(secret)) < 2 {
		return fmt.Errorf("it has several lines, all under %d characters; they cannot be told from other text", MinLength)
	}
	return nil
}

// Mask hides secrets. A nil Mask hides nothing. It may be used from several
// goroutines.
type Mask struct {
	starts map[prefix][]form // the forms that may begin with these bytes
	first  [256]bool         // bytes that any form may begin with
	begun  map[string]bool   // what is shorter than a prefix and may become one
}

// prefix is how a form begins. No text of a form is shorter: MinLength.
type prefix [3]byte

// form is one way in which a secret may be written.
type form [][]string

// New returns the mask of secrets, nil if there are none. Values that Check refuses
// are not hidden.
func New(secrets []string) *Mask {
	var m *Mask
	seen := map[string]bool{}
	for _, secret := range secrets {
		for _, needle := range needles(secret) {
			if utf8.RuneCountInString(needle) < MinLength || seen[needle] {
				continue
			}
			seen[needle] = true
			if m == nil {
				m = &Mask{starts: map[prefix][]form{}, begun: map[string]bool{}}
			}
			for _, f := range forms(needle) {
				m.add(f)
			}
		}
	}
	return m
}

// needles are the texts to look for: the secret, and each of its lines that is long
// enough, both also without the space around them, which programs like to trim.
func needles(secret string) []string {
	all := []string{secret}
	add := func(s string) {
		if utf8.RuneCountInString(s) >= MinLength && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	whole := strings.TrimSpace(secret)
	if whole == "" {
		return all
	}
	if all = []string{whole}; !strings.Contains(whole, "\n") {
		return all // what stands around it tells nothing
	}
	for line := range strings.SplitSeq(whole, "\n") {
		add(strings.TrimSpace(line))
	}
	return all
}

func (m *Mask) add(f form) {
	seen := map[prefix]bool{}
	f.begin("", func(start string) {
		p := prefix([]byte(start[:len(prefix{})]))
		if seen[p] {
			return
		}
		seen[p] = true
		m.first[p[0]] = true
		m.starts[p] = append(m.starts[p], f)
		for n := 1; n < len(p); n++ {
			m.begun[start[:n]] = true
		}
	})
}

// begin calls visit with a beginning of every text of the form, after what stands
// before it.
func (f form) begin(before string, visit func(start string)) {
	if len(before) >= len(prefix{}) {
		visit(before)
		return
	}
	for _, text := range f[0] {
		f[1:].begin(before+text, visit)
	}
}

// Text returns s with every secret hidden.
func (m *Mask) Text(s string) string {
	if m == nil {
		return s
	}
	out, _ := m.hide(nil, []byte(s), true)
	return string(out)
}

// hide appends b to out, with secrets hidden, and returns what it holds back: the end
// of b, if it could be the beginning of a secret. With final nothing is held back.
func (m *Mask) hide(out, b []byte, final bool) (masked, rest []byte) {
	plain := 0 // where what is passed on as it is begins
	for at := 0; at < len(b); {
		longest, open := 0, false
		switch left := b[at:]; {
		case !m.first[left[0]]:
		case len(left) < len(prefix{}):
			open = m.begun[string(left)]
		default:
			for _, f := range m.starts[prefix(left[:len(prefix{})])] {
				end, more := f.match(left)
				longest, open = max(longest, end), open || more
			}
		}
		switch {
		case open && !final:
			return append(out, b[plain:at]...), b[at:]
		case longest > 0:
			out = append(append(out, b[plain:at]...), Hidden...)
			at += longest
			plain = at
		default:
			at++
		}
	}
	return append(out, b[plain:]...), nil
}

// match follows the form from the beginning of b. end is where its longest match
// ends, or 0; open says that more bytes could make one, or a longer one.
func (f form) match(b []byte) (end int, open bool) {
	at, next := []int{0}, []int(nil)
	for _, element := range f {
		next = next[:0]
		for _, p := range at {
			for _, text := range element {
				switch rest := b[p:]; {
				case len(rest) < len(text):
					open = open || strings.HasPrefix(text, string(rest))
				case string(rest[:len(text)]) == text && !slices.Contains(next, p+len(text)):
					next = append(next, p+len(text))
				}
			}
		}
		if len(next) == 0 {
			return 0, open
		}
		at, next = next, at
	}
	return slices.Max(at), open
}

// Writer returns a writer that hands what it is given on to w with secrets hidden,
// however they are cut into pieces. It holds back what may be the beginning of one until
// the next Write or Close. Close does not close w. A nil Mask's writer is w itself.
func (m *Mask) Writer(w io.Writer) io.WriteCloser {
	if m == nil {
		return unmasked{w}
	}
	return &writer{mask: m, to: w}
}

type unmasked struct{ io.Writer }

func (unmasked) Close() error { return nil }

type writer struct {
	mask *Mask
	to   io.Writer
	held []byte
}

func (w *writer) Write(p []byte) (int, error) {
	out, rest := w.mask.hide(nil, append(w.held, p...), false)
	w.held = bytes.Clone(rest)
	if _, err := w.to.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *writer) Close() error {
	out, _ := w.mask.hide(nil, w.held, true)
	w.held = nil
	_, err := w.to.Write(out)
	return err
}
