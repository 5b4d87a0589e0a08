package tokenizer

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// cutting knows where text may be cut before it is merged.
type cutting struct {
	atWords bool // before each run of ▁
	unused  bool // some pieces are to be split again

	// User-defined pieces, by their first byte: the lengths, longest first, and
	// the ids.
	lengths [256][]int
	ids     map[string]int32
}

func (c *cutting) build(pieces []piece) {
	c.atWords = true
	c.ids = map[string]int32{}
	for id, p := range pieces {
		if !p.isText() {
			continue
		}
		if strings.Contains(strings.TrimLeft(p.text, space), space) {
			c.atWords = false
		}
		switch p.kind {
		case kindUnused:
			c.unused = true
		case kindUserDefined:
			c.ids[p.text] = int32(id)
			if l := &c.lengths[p.text[0]]; !slices.Contains(*l, len(p.text)) {
				*l = append(*l, len(p.text))
			}
		}
	}
	for _, l := range c.lengths {
		slices.SortFunc(l, func(a, b int) int { return b - a })
	}
	// How an unused piece is split again depends on the whole text before it.
	c.atWords = c.atWords && !c.unused
}

// userDefined returns the first user-defined piece in text, the longest of those
// at its place; its end is 0 if there is none.
func (c *cutting) userDefined(text []byte) (id int32, start, end int) {
	if len(c.ids) == 0 {
		return 0, 0, 0
	}
	for i, b := range text {
		for _, n := range c.lengths[b] {
			if n > len(text)-i {
				continue
			}
			if id, ok := c.ids[string(text[i:i+n])]; ok {
				return id, i, i + n
			}
		}
	}
	return 0, 0, 0
}

// word returns the length of the first word of text: up to the first ▁ that
// follows another character.
func (c *cutting) word(text []byte) int {
	if !c.atWords {
		return len(text)
	}
	i := 0
	for bytes.HasPrefix(text[i:], []byte(space)) {
		i += len(space)
	}
	if next := bytes.Index(text[i:], []byte(space)); next >= 0 {
		return i + next
	}
	return len(text)
}

// normalize appends text to dst as pieces spell it: bytes that are not UTF-8 as
// U+FFFD, spaces as ▁, after a ▁ of its own if prefix is set.
func normalize(dst []byte, text string, prefix bool) []byte {
	if prefix {
		dst = append(dst, space...)
	}
	if !utf8.ValidString(text) {
		for _, r := range text { // bytes that are not UTF-8 come as U+FFFD, each
			if r == ' ' {
				r = '\u2581'
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst
	}
	for {
		i := strings.IndexByte(text, ' ')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		dst = append(dst, space...)
		text = text[i+1:]
	}
}

// cacheSlots is how many words a tokenizer remembers: the words of a few
// megabytes of prose. A slot is a pointer.
const cacheSlots = 1 << 14

// maxCachedWord is the longest word, in bytes, that is remembered: longer ones
// seldom come again.
const maxCachedWord = 64

// wordCache remembers the ids of words. Each slot holds the last word with its
// hash, so that memory is bounded; slots are read and replaced atomically.
type wordCache struct {
	slots [cacheSlots]atomic.Pointer[cachedWord]
}

// cachedWord is never changed once it is in a slot.
type cachedWord struct {
	text string
	ids  []int32
}

var cacheSeed = maphash.MakeSeed()

func (c *wordCache) slot(word []byte) *atomic.Pointer[cachedWord] {
	return &c.slots[maphash.Bytes(cacheSeed, word)%cacheSlots]
}
