package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// Encode returns the ids of text, as the model was trained to see it: with a
// dummy prefix if the model asks for one. No BOS or EOS is added, and no text
// leads to a control piece. The ids of an empty text are none.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.AppendEncode(nil, text, t.dummyPrefix)
}

// EncodeNoPrefix is Encode without the dummy prefix: for text that goes on where
// other text ended.
func (t *Tokenizer) EncodeNoPrefix(text string) []int32 {
	return t.AppendEncode(nil, text, false)
}

// AppendEncode appends the ids of text to dst, with a dummy prefix or without.
func (t *Tokenizer) AppendEncode(dst []int32, text string, prefix bool) []int32 {
	if text == "" {
		return dst
	}
	s := t.scratch.Get().(*scratch)
	defer func() {
		if len(text) <= maxKeptText {
			t.scratch.Put(s)
		}
	}()
	s.text = normalize(s.text[:0], text, prefix)
	start := len(dst)
	for rest := s.text; len(rest) > 0; {
		id, from, to := t.cutting.userDefined(rest)
		if to == 0 {
			from, to = len(rest), len(rest)
		}
		for part := rest[:from]; len(part) > 0; {
			n := t.cutting.word(part)
			dst = t.appendWord(dst, start, part[:n], s)
			part = part[n:]
		}
		if from < to {
			dst = append(dst, id)
		}
		rest = rest[to:]
	}
	return dst
}

// appendWord appends the ids of a word that merges with nothing around it.
func (t *Tokenizer) appendWord(dst []int32, start int, word []byte, s *scratch) []int32 {
	if len(word) > maxCachedWord {
		s.merge(t, word)
		return t.appendIDs(dst, start, s.ids)
	}
	slot := t.cache.slot(word)
	if known := slot.Load(); known != nil && known.text == string(word) {
		return t.appendIDs(dst, start, known.ids)
	}
	s.merge(t, word)
	slot.Store(&cachedWord{string(word), slices.Clone(s.ids)})
	return t.appendIDs(dst, start, s.ids)
}

// appendIDs appends the ids of a word. A run of unknown characters is one token,
// also across words; dst holds this text's ids from start on.
func (t *Tokenizer) appendIDs(dst []int32, start int, ids []int32) []int32 {
	if !t.byteFallback && len(dst) > start && len(ids) > 0 && dst[len(dst)-1] == t.unk && ids[0] == t.unk {
		ids = ids[1:]
	}
	return append(dst, ids...)
}

// scratch is the working memory of one call of Encode.
type scratch struct {
	text    []byte
	symbols []symbol
	queue   queue
	ids     []int32
	halves  map[int32][2]int32 // of unused pieces: the symbols they were last found to consist of
}

// maxKeptText is the longest text, in bytes, after which the working memory is
// kept for the next call. Long texts are rare and take much.
const maxKeptText = 1 << 20

// symbol is a part of the word: at first a character, later what it was merged
// into. It is in a list, linked by places in scratch.symbols.
type symbol struct {
	prev, next int32 // -1 at the ends
	id         int32 // a symbol of merges, or noSymbol
	start, len int32 // its bytes; len is 0 once it was merged into the one before
}

// merge sets s.ids to the ids of word.
func (s *scratch) merge(t *Tokenizer, word []byte) {
	s.symbols, s.queue, s.ids = s.symbols[:0], s.queue[:0], s.ids[:0]
	if t.cutting.unused {
		s.halves = map[int32][2]int32{}
	}
	for i := 0; i < len(word); {
		r, n := utf8.DecodeRune(word[i:])
		at := int32(len(s.symbols))
		s.symbols = append(s.symbols, symbol{prev: at - 1, next: at + 1, id: t.merges.symbol(r), start: int32(i), len: int32(n)})
		i += n
	}
	s.symbols[len(s.symbols)-1].next = -1
	for i := range int32(len(s.symbols) - 1) {
		s.offer(t, i, i+1)
	}
	for len(s.queue) > 0 {
		c := s.queue.pop()
		left, right := &s.symbols[c.left()], &s.symbols[c.right]
		// Unless both are as they were when they were offered, one is gone or has
		// grown.
		if left.len == 0 || right.len == 0 || left.len+right.len != c.len {
			continue
		}
		left.id, left.len, left.next = c.id, c.len, right.next
		right.len = 0
		if left.next >= 0 {
			s.symbols[left.next].prev = c.left()
		}
		s.offer(t, left.prev, c.left())
		s.offer(t, c.left(), left.next)
	}
	for i := int32(0); i >= 0; i = s.symbols[i].next {
		s.emit(t, s.symbols[i].id, word[s.symbols[i].start:][:s.symbols[i].len])
	}
}

// offer queues a pair of neighbours if they merge.
func (s *scratch) offer(t *Tokenizer, left, right int32) {
	if left < 0 || right < 0 {
		return
	}
	l, r := &s.symbols[left], &s.symbols[right]
	id, ok := t.merges.merge(l.id, r.id)
	if !ok {
		return
	}
	if t.cutting.unused && t.pieces[id].kind == kindUnused {
		s.halves[id] = [2]int32{l.id, r.id}
	}
	s.queue.push(candidate{order: uint64(t.merges.rank[id])<<32 | uint64(left), right: right, len: l.len + r.len, id: id})
}

// emit appends the ids of a symbol that merges no further.
func (s *scratch) emit(t *Tokenizer, id int32, text []byte) {
	switch {
	case id >= 0 && int(id) < len(t.pieces):
		halves, known := s.halves[id]
		if t.pieces[id].kind != kindUnused || !known {
			s.ids = append(s.ids, id)
			return
		}
		// The halves are shorter pieces: this goes no deeper than maxPiece.
		for _, half := range halves {
			s.emit(t, half, []byte(t.textOf(half)))
		}
	case t.byteFallback:
		for _, b := range text {
			s.ids = append(s.ids, t.byteIDs[b])
		}
	case len(s.ids) == 0 || s.ids[len(s.ids)-1] != t.unk:
		s.ids = append(s.ids, t.unk)
	}
}

// textOf returns the text of a symbol of merges.
func (t *Tokenizer) textOf(symbol int32) string {
	if int(symbol) < len(t.pieces) {
		return t.pieces[symbol].text
	}
	return string(t.merges.extra[int(symbol)-len(t.pieces)])
}

// candidate is a pair of neighbours that could be merged.
type candidate struct {
	order uint64 // rank of the piece · 2³² + place of the left symbol: the least comes first
	right int32
	len   int32 // of both together
	id    int32 // the piece
}

func (c candidate) left() int32 { return int32(uint32(c.order)) }

// queue is a binary heap.
type queue []candidate

func (q *queue) push(c candidate) {
	h := append(*q, c)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].order <= c.order {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = c
	*q = h
}

func (q *queue) pop() candidate {
	h := *q
	top := h[0]
	last := h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	if len(h) == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].order < h[child].order {
			child++
		}
		if h[child].order >= last.order {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = last
	return top
}
