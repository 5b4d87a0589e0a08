package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Decode returns the text that ids stand for. The one space that comes from the
// dummy prefix is left out at the beginning. Control pieces are nothing, the
// unknown piece and ids that do not exist are " ⁇ ", and bytes that are not UTF-8
// are U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	return t.decode(t.NewStream(), ids)
}

// DecodeNoPrefix is Decode for ids that EncodeNoPrefix made: a space at the
// beginning stays.
func (t *Tokenizer) DecodeNoPrefix(ids []int32) string {
	return t.decode(t.NewStreamNoPrefix(), ids)
}

func (t *Tokenizer) decode(s *Stream, ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Push(id))
	}
	b.WriteString(s.Flush())
	return b.String()
}

// Stream decodes ids one at a time, and gives text out as soon as its characters
// are complete. What it gives out, put together, is what Decode returns. It is
// used by one goroutine.
type Stream struct {
	t       *Tokenizer
	bytes   []byte // of byte pieces, a character that is not complete
	atStart bool   // nothing was decoded yet: a ▁ is the dummy prefix
}

// NewStream returns a decoder for ids that Encode could have made.
func (t *Tokenizer) NewStream() *Stream {
	return &Stream{t: t, atStart: t.dummyPrefix}
}

// NewStreamNoPrefix returns a decoder for ids that EncodeNoPrefix could have
// made, or that go on where others ended.
func (t *Tokenizer) NewStreamNoPrefix() *Stream { return &Stream{t: t} }

// Push takes the next id and returns the text that is complete with it, which
// may be empty.
func (s *Stream) Push(id int32) string {
	p := piece{kind: kindUnknown}
	if id >= 0 && int(id) < len(s.t.pieces) {
		p = s.t.pieces[id]
	}
	if p.kind == kindByte {
		b, _ := byteOf(p.text)
		s.bytes = append(s.bytes, b)
		s.atStart = false
		return s.complete(false)
	}
	return s.Flush() + s.text(p)
}

// Flush returns what is left: U+FFFD for each byte of a character that did not
// become complete.
func (s *Stream) Flush() string { return s.complete(true) }

// complete decodes the bytes up to the first incomplete character, or all.
func (s *Stream) complete(all bool) string {
	var out []byte
	for len(s.bytes) > 0 && (all || utf8.FullRune(s.bytes)) {
		r, n := utf8.DecodeRune(s.bytes) // U+FFFD and 1 for a byte that is not UTF-8
		out = utf8.AppendRune(out, r)
		s.bytes = s.bytes[n:]
	}
	return string(out)
}

// text decodes a piece that is no byte.
func (s *Stream) text(p piece) string {
	var text string
	switch p.kind {
	case kindControl:
		return ""
	case kindUnknown:
		text = s.t.unkSurface
	default:
		text = p.text
		if s.atStart {
			text = strings.TrimPrefix(text, space)
		}
		text = strings.ReplaceAll(text, space, " ")
	}
	s.atStart = false
	return text
}
