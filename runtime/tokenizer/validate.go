package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"pipe/internal/problem"
)

// maxProblems bounds the list that a bad file can make.
const maxProblems = 100

// validator checks a model and fills the vocabulary of a Tokenizer.
type validator struct {
	file     string
	model    *protoModel
	t        *Tokenizer
	problems problem.List
}

// add notes what is wrong with the model as a whole.
func (v *validator) add(hint, format string, args ...any) {
	v.problems.Add(problem.AtByte(v.file, 0, format, args...).WithHint("%s", hint))
}

// addPiece notes what is wrong with a piece.
func (v *validator) addPiece(p piece, format string, args ...any) {
	if len(v.problems) < maxProblems {
		v.problems.Add(problem.AtByte(v.file, int64(p.at), "piece %.100q: %s", p.text, fmt.Sprintf(format, args...)))
	}
}

func (v *validator) validate() {
	if len(v.model.pieces) == 0 {
		v.add("", "no pieces: this is no tokenizer.model")
		return
	}
	v.settings()
	v.vocabulary()
}

// settings refuses models that ask for more than is done here.
func (v *validator) settings() {
	m, t := v.model, v.t
	if m.modelType != modelTypeBPE {
		v.add("1 is a unigram model, such as that of T5; Mistral's are BPE", "model type %d, pipe reads BPE (%d)", m.modelType, modelTypeBPE)
	}
	if m.charsMap || m.outputCharsMap {
		v.add("Mistral's models use the identity", "the model normalises characters by a map, which pipe does not do")
	}
	if m.removeSpace {
		v.add("Mistral's models keep them", "the model removes extra spaces, which pipe does not do")
	}
	if !m.escapeSpace || m.suffix {
		v.add("", "the model does not put ▁ before words")
	}
	t.byteFallback, t.dummyPrefix, t.unkSurface = m.byteFallback, m.dummyPrefix, m.unkSurface
}

// vocabulary checks the pieces and gives them their ids.
func (v *validator) vocabulary() {
	t := v.t
	t.unk, t.bos, t.eos = -1, -1, -1
	t.ids = make(map[string]int32, len(t.pieces))
	bytePieces := 0
	for i, p := range t.pieces {
		id := int32(i)
		v.piece(p)
		if _, twice := t.ids[p.text]; twice {
			v.addPiece(p, "it is there twice")
		}
		t.ids[p.text] = id
		switch p.kind {
		case kindUnknown:
			if t.unk >= 0 {
				v.addPiece(p, "a second piece for unknown text")
			}
			t.unk = id
		case kindByte:
			bytePieces++
			b, ok := byteOf(p.text)
			if !ok || !t.byteFallback {
				v.addPiece(p, "no byte piece <0xNN>, or the model has no byte fallback")
			}
			t.byteIDs[b] = id
		case kindControl:
			switch p.text {
			case v.model.bosPiece:
				t.bos = id
			case v.model.eosPiece:
				t.eos = id
			}
		}
	}
	if t.unk < 0 {
		v.add("", "no piece for unknown text")
	}
	if t.byteFallback && bytePieces != len(t.byteIDs) {
		v.add("", "%d byte pieces, byte fallback needs %d", bytePieces, len(t.byteIDs))
	}
}

// piece checks what can be wrong with one piece alone.
func (v *validator) piece(p piece) {
	switch {
	case p.text == "":
		v.addPiece(p, "it is empty")
	case len(p.text) > maxPiece:
		v.addPiece(p, "%d bytes, at most %d are read", len(p.text), maxPiece)
	case !utf8.ValidString(p.text):
		v.addPiece(p, "not UTF-8")
	case strings.ContainsRune(p.text, 0):
		v.addPiece(p, "it holds a NUL")
	case p.score-p.score != 0:
		v.addPiece(p, "its score is %v", p.score)
	}
}

// byteOf returns the byte that a byte piece stands for: <0x and two hexadecimal
// digits, in capitals, and >.
func byteOf(text string) (byte, bool) {
	const digits = "0123456789ABCDEF"
	if len(text) != 6 || text[:3] != "<0x" || text[5] != '>' {
		return 0, false
	}
	high, low := strings.IndexByte(digits, text[3]), strings.IndexByte(digits, text[4])
	if high < 0 || low < 0 {
		return 0, false
	}
	return byte(high<<4 | low), true
}
