package tokenizer

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// maxPairs bounds the pair table. Mistral's vocabularies have about 100,000.
const maxPairs = 1 << 23

// merges knows which neighbours merge into which piece, by ids. A symbol is a
// piece or a character; characters that occur only inside longer pieces have
// symbols beyond the last piece's id.
type merges struct {
	ascii [utf8.RuneSelf]int32
	runes map[rune]int32 // the others; a character that is in neither map has no symbol
	extra []rune         // the characters of the symbols beyond the last piece
	rank  []uint32       // by piece: place by falling score; equal scores share one

	// The pairs, as a hash table with open addressing.
	keys   []uint64 // left symbol · 2³² + right symbol; noPair where empty
	merged []int32
	shift  int
}

// noSymbol stands for a character that no piece holds.
const noSymbol int32 = -1

const noPair = ^uint64(0)

// build fills the tables with every way to cut a piece into two symbols.
func (m *merges) build(pieces []piece, ids map[string]int32) error {
	m.rankPieces(pieces)
	for i := range m.ascii {
		m.ascii[i] = noSymbol
	}
	m.runes = map[rune]int32{}
	for id, p := range pieces {
		if r, n := utf8.DecodeRuneInString(p.text); p.isText() && n == len(p.text) {
			m.setSymbol(r, int32(id))
		}
	}
	var keys []uint64
	var merged []int32
	for id, p := range pieces {
		if !p.isText() {
			continue
		}
		for cut := range p.text {
			if cut == 0 {
				continue
			}
			left, ok := m.find(p.text[:cut], pieces, ids)
			if !ok {
				continue
			}
			right, ok := m.find(p.text[cut:], pieces, ids)
			if !ok {
				continue
			}
			if len(keys) == maxPairs {
				return fmt.Errorf("more than %d ways to merge pieces", maxPairs)
			}
			keys = append(keys, pairKey(left, right))
			merged = append(merged, int32(id))
		}
	}
	m.fill(keys, merged)
	return nil
}

// rankPieces orders the pieces by score.
func (m *merges) rankPieces(pieces []piece) {
	order := make([]int32, len(pieces))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(pieces[b].score, pieces[a].score) })
	m.rank = make([]uint32, len(pieces))
	for i, id := range order {
		switch {
		case i == 0:
		case pieces[id].score == pieces[order[i-1]].score:
			m.rank[id] = m.rank[order[i-1]]
		default:
			m.rank[id] = m.rank[order[i-1]] + 1
		}
	}
}

func (m *merges) setSymbol(r rune, symbol int32) {
	if r < utf8.RuneSelf {
		m.ascii[r] = symbol
	} else {
		m.runes[r] = symbol
	}
}

// symbol returns the symbol of a character, or noSymbol.
func (m *merges) symbol(r rune) int32 {
	if r < utf8.RuneSelf {
		return m.ascii[r]
	}
	if symbol, ok := m.runes[r]; ok {
		return symbol
	}
	return noSymbol
}

// find returns the symbol of a part of a piece, making one for a character.
func (m *merges) find(text string, pieces []piece, ids map[string]int32) (int32, bool) {
	r, n := utf8.DecodeRuneInString(text)
	if n < len(text) {
		id, ok := ids[text]
		return id, ok && pieces[id].isText()
	}
	symbol := m.symbol(r)
	if symbol == noSymbol {
		symbol = int32(len(pieces) + len(m.extra))
		m.extra = append(m.extra, r)
		m.setSymbol(r, symbol)
	}
	return symbol, true
}

func pairKey(left, right int32) uint64 { return uint64(left)<<32 | uint64(uint32(right)) }

// slot is where the search for a key begins (Fibonacci hashing).
func (m *merges) slot(key uint64) int { return int(key * 0x9e3779b97f4a7c15 >> m.shift) }

func (m *merges) fill(keys []uint64, merged []int32) {
	size := bits.Len(uint(2*len(keys) + 1)) // at most half full
	m.shift = 64 - size
	m.keys = make([]uint64, 1<<size)
	m.merged = make([]int32, 1<<size)
	for i := range m.keys {
		m.keys[i] = noPair
	}
	for i, key := range keys {
		at := m.slot(key)
		for m.keys[at] != noPair {
			at = (at + 1) & (len(m.keys) - 1)
		}
		m.keys[at], m.merged[at] = key, merged[i]
	}
}

// merge returns the piece that two symbols become, false if they do not merge.
func (m *merges) merge(left, right int32) (int32, bool) {
	if left < 0 || right < 0 {
		return 0, false
	}
	key := pairKey(left, right)
	for at := m.slot(key); ; at = (at + 1) & (len(m.keys) - 1) {
		switch m.keys[at] {
		case key:
			return m.merged[at], true
		case noPair:
			return 0, false
		}
	}
}
