package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pipe/internal/golden"
	"pipe/internal/problem"
)

// The helpers below write protocol buffers.

func varintField(number int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3), v)
}

func bytesField(number int, data []byte) []byte {
	head := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3|wireBytes), uint64(len(data)))
	return append(head, data...)
}

func pieceField(text string, score float32, k kind) []byte {
	data := bytesField(pieceText, []byte(text))
	data = append(data, pieceScore<<3|wireFixed32)
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(score))
	if k != kindNormal {
		data = append(data, varintField(pieceKind, uint64(k))...)
	}
	return bytesField(modelPieces, data)
}

// testModel is a model to be changed by a test.
type testModel struct {
	pieces     []piece
	trainer    []byte
	normalizer []byte
	more       []byte
}

// newTestModel has the special pieces, bytes if asked for, and the given text,
// scored by its order.
func newTestModel(byteFallback bool, texts ...string) *testModel {
	m := &testModel{
		pieces: []piece{
			{text: "<unk>", kind: kindUnknown}, {text: "<s>", kind: kindControl}, {text: "</s>", kind: kindControl},
		},
		trainer:    varintField(trainerModelType, modelTypeBPE),
		normalizer: varintField(normalizerRemoveSpace, 0),
	}
	if byteFallback {
		m.trainer = append(m.trainer, varintField(trainerByteFallback, 1)...)
		for b := range 256 {
			m.pieces = append(m.pieces, piece{text: fmt.Sprintf("<0x%02X>", b), kind: kindByte})
		}
	}
	for i, text := range texts {
		m.pieces = append(m.pieces, piece{text: text, score: -float32(i), kind: kindNormal})
	}
	return m
}

func (m *testModel) bytes() []byte {
	var data []byte
	for _, p := range m.pieces {
		data = append(data, pieceField(p.text, p.score, p.kind)...)
	}
	data = append(data, bytesField(modelTrainer, m.trainer)...)
	data = append(data, bytesField(modelNormalizer, m.normalizer)...)
	return append(data, m.more...)
}

func (m *testModel) load(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Load(m.bytes(), "test.model")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestLoadRefusesLies(t *testing.T) {
	edit := func(change func(m *testModel)) []byte {
		m := newTestModel(true, "▁", "a", "b", "ab")
		change(m)
		return m.bytes()
	}
	add := func(p piece) []byte { return edit(func(m *testModel) { m.pieces = append(m.pieces, p) }) }
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty file", nil, "no pieces"},
		{"text", []byte("{\"model\": {\"type\": \"BPE\"}}"), "byte"},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid"), "git lfs pull"},
		{"cut inside a piece", edit(func(*testModel) {})[:1000], "are announced"},
		{"cut inside a number", []byte{0x80}, "byte 0: a number is cut off"},
		{"number of more than 64 bits", append(bytesField(9, nil), 0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "longer than 64 bits"},
		{"field number 0", []byte{0x00, 0x00}, "0 is no field number"},
		{"group", []byte{0x4b, 0x4c}, "wire type 3"},
		{"length beyond the file", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, "bytes are announced, 0 are there"},
		{"length of 2^64-1", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "are announced"},
		{"pieces is a number", varintField(modelPieces, 1), "wire type 0, not 2"},
		{"piece text is a number", bytesField(modelPieces, varintField(pieceText, 1)), "wire type 0, not 2"},
		{"score is a varint", bytesField(modelPieces, varintField(pieceScore, 1)), "wire type 0, not 5"},
		{"unknown type of piece", add(piece{text: "x", kind: 9}), "unknown type 9"},
		{"type 0", add(piece{text: "x", kind: 0}), "unknown type 0"},
		{"unigram", edit(func(m *testModel) { m.trainer = append(m.trainer, varintField(trainerModelType, 1)...) }), "model type 1"},
		{"no trainer", edit(func(m *testModel) { m.trainer = nil }), "model type 1"},
		{"characters mapped", edit(func(m *testModel) {
			m.normalizer = append(m.normalizer, bytesField(normalizerCharsMap, []byte("x"))...)
		}), "normalises characters"},
		{"characters mapped on output", edit(func(m *testModel) {
			m.more = bytesField(modelDenormalizer, bytesField(normalizerCharsMap, []byte("x")))
		}), "normalises characters"},
		{"extra spaces removed", edit(func(m *testModel) { m.normalizer = nil }), "removes extra spaces"},
		{"spaces not escaped", edit(func(m *testModel) { m.normalizer = append(m.normalizer, varintField(normalizerEscapeSpace, 0)...) }), "does not put ▁ before words"},
		{"space as suffix", edit(func(m *testModel) { m.trainer = append(m.trainer, varintField(trainerSuffix, 1)...) }), "does not put ▁ before words"},
		{"empty piece", add(piece{text: "", kind: kindNormal}), "it is empty"},
		{"piece of 257 bytes", add(piece{text: strings.Repeat("x", 257), kind: kindNormal}), "257 bytes"},
		{"piece of 200 kB", add(piece{text: strings.Repeat("x", 200_000), kind: kindNormal}), "200000 bytes"},
		{"piece is not UTF-8", add(piece{text: "a\xff", kind: kindNormal}), "not UTF-8"},
		{"piece with NUL", add(piece{text: "a\x00", kind: kindNormal}), "NUL"},
		{"piece twice", add(piece{text: "ab", kind: kindNormal}), `"ab": it is there twice`},
		{"piece twice as other types", add(piece{text: "<s>", kind: kindNormal}), "it is there twice"},
		{"score NaN", add(piece{text: "x", score: float32(math.NaN()), kind: kindNormal}), "score is NaN"},
		{"score infinite", add(piece{text: "x", score: float32(math.Inf(-1)), kind: kindNormal}), "score is -Inf"},
		{"second unknown", add(piece{text: "x", kind: kindUnknown}), "second piece for unknown text"},
		{"no unknown", edit(func(m *testModel) { m.pieces[0].kind = kindNormal }), "no piece for unknown text"},
		{"255 bytes", edit(func(m *testModel) { m.pieces = slices.Delete(m.pieces, 100, 101) }), "255 byte pieces"},
		{"bytes without fallback", newTestModelWithStrayByte(), "no byte fallback"},
		{"byte <0x-1>", edit(func(m *testModel) { m.pieces[3].text = "<0x-1>" }), "no byte piece"},
		{"byte <0x0a>", edit(func(m *testModel) { m.pieces[13].text = "<0x0a>" }), "no byte piece"},
		{"byte <0x100>", edit(func(m *testModel) { m.pieces[3].text = "<0x100>" }), "no byte piece"},
		{"byte named as text", edit(func(m *testModel) { m.pieces[3].text = "zero" }), "no byte piece"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tok, err := Load(test.data, "x.model")
			if err == nil || tok != nil {
				t.Fatal("accepted")
			}
			var list problem.List
			if !errors.As(err, &list) || !strings.HasPrefix(err.Error(), "x.model: byte ") {
				t.Errorf("no place: %v", err)
			}
			if !strings.Contains(err.Error(), strings.ReplaceAll(test.want, "are announced", "are announced")) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func newTestModelWithStrayByte() []byte {
	m := newTestModel(false, "a")
	m.pieces = append(m.pieces, piece{text: "<0x41>", kind: kindByte})
	return m.bytes()
}

func TestLoadRefusesTooManyPieces(t *testing.T) {
	one := pieceField("a", 0, kindNormal)
	data := make([]byte, 0, len(one)*(maxPieces+1))
	for range maxPieces + 1 {
		data = append(data, one...)
	}
	if _, err := Load(data, "x"); err == nil || !strings.Contains(err.Error(), "more than 1000000 pieces") {
		t.Errorf("got %v", err)
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not an ordinary file") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func TestUnknownFieldsAndMergedMessagesAreRead(t *testing.T) {
	m := newTestModel(true, "▁", "a")
	m.more = slices.Concat(
		bytesField(4, []byte("self test")), varintField(200, 7), []byte{201<<3&0x7f | 0x80 | wireFixed64, 201 >> 4, 1, 2, 3, 4, 5, 6, 7, 8},
		bytesField(modelTrainer, bytesField(trainerBOS, []byte("</s>"))),
		bytesField(modelNormalizer, varintField(normalizerDummyPrefix, 0)),
	)
	tok := m.load(t)
	if tok.BOS() != 2 {
		t.Errorf("bos %d: the second trainer spec was not merged", tok.BOS())
	}
	if got := tok.Encode("a"); len(got) != 1 {
		t.Errorf("got %v: the dummy prefix is on", got)
	}
}

func TestEmptyTextHasNoIDs(t *testing.T) {
	tok := newTestModel(true, "▁", "a").load(t)
	if got := tok.Encode(""); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// slowly encodes by the definition: no words, no cache, no heap, pieces as
// strings. It knows no unused pieces.
func slowly(t *Tokenizer, text string, prefix bool) []int32 {
	if text == "" {
		return nil
	}
	normal := strings.ReplaceAll(string([]rune(text)), " ", space)
	if prefix {
		normal = space + normal
	}
	var parts []string
	var frozen []bool
	for normal != "" {
		longest := ""
		for _, p := range t.pieces {
			if p.kind == kindUserDefined && strings.HasPrefix(normal, p.text) && len(p.text) > len(longest) {
				longest = p.text
			}
		}
		part := longest
		if part == "" {
			_, n := utf8.DecodeRuneInString(normal)
			part = normal[:n]
		}
		parts, frozen = append(parts, part), append(frozen, longest != "")
		normal = normal[len(part):]
	}
	for {
		best, score := -1, float32(0)
		for i := range len(parts) - 1 {
			id, ok := t.ids[parts[i]+parts[i+1]]
			if !ok || frozen[i] || frozen[i+1] || !t.pieces[id].isText() {
				continue
			}
			if best < 0 || t.pieces[id].score > score {
				best, score = i, t.pieces[id].score
			}
		}
		if best < 0 {
			break
		}
		parts[best] += parts[best+1]
		parts, frozen = slices.Delete(parts, best+1, best+2), slices.Delete(frozen, best+1, best+2)
	}
	var ids []int32
	for _, part := range parts {
		id, ok := t.ids[part]
		switch {
		case ok && t.pieces[id].isText():
			ids = append(ids, id)
		case t.byteFallback:
			for _, b := range []byte(part) {
				ids = append(ids, t.byteIDs[b])
			}
		case len(ids) == 0 || ids[len(ids)-1] != t.unk:
			ids = append(ids, t.unk)
		}
	}
	return ids
}

func TestEncodingFollowsTheDefinition(t *testing.T) {
	alphabet := []string{"▁", "a", "b", "é", "日", "x"}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		m := newTestModel(seed%2 == 0)
		seen := map[string]bool{"a": random.IntN(4) == 0} // now and then a character without a piece
		for range 3 + random.IntN(30) {
			text := ""
			for range 1 + random.IntN(4) {
				text += alphabet[random.IntN(len(alphabet)-1)]
			}
			if seed%3 > 0 { // mostly as Mistral's: no ▁ behind another character
				text = strings.Repeat(space, strings.Count(text, space)) + strings.ReplaceAll(text, space, "")
			}
			if seen[text] {
				continue
			}
			seen[text] = true
			p := piece{text: text, score: -float32(random.IntN(12)), kind: kindNormal}
			switch random.IntN(12) {
			case 0:
				p.kind = kindUserDefined
			case 1:
				p.kind = kindControl
			}
			m.pieces = append(m.pieces, p)
		}
		tok := m.load(t)
		for range 60 {
			text := ""
			for range random.IntN(40) {
				if n := random.IntN(len(alphabet) + 2); n < len(alphabet) {
					text += alphabet[n]
				} else {
					text += []string{" ", "\xff"}[n-len(alphabet)]
				}
			}
			for _, prefix := range []bool{true, false} {
				got, want := tok.AppendEncode(nil, text, prefix), slowly(tok, text, prefix)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d, %q, prefix %v: got %v, want %v", seed, text, prefix, got, want)
				}
			}
		}
	}
}

func TestUnusedPiecesAreSplitAgain(t *testing.T) {
	m := newTestModel(true, "▁", "a", "b", "c", "ab", "abc")
	for i := range m.pieces {
		if m.pieces[i].text == "abc" || m.pieces[i].text == "c" {
			m.pieces[i].kind = kindUnused
		}
	}
	tok := m.load(t)
	var got []string
	for _, id := range tok.EncodeNoPrefix("abc c") {
		got = append(got, tok.Piece(id))
	}
	// SentencePiece gives an unused character as it is: there is nothing to split.
	if want := []string{"ab", "c", "▁", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCharacterWithoutAPieceMergesIntoLongerOnes(t *testing.T) {
	tok := newTestModel(true, "▁", "aq", "a").load(t)
	if got := tok.EncodeNoPrefix("aq"); len(got) != 1 || tok.Piece(got[0]) != "aq" {
		t.Errorf("got %v", got)
	}
	if got := tok.EncodeNoPrefix("q"); len(got) != 1 || tok.Piece(got[0]) != "<0x71>" {
		t.Errorf("got %v", got)
	}
}

func TestLongWordsTakeNoQuadraticTime(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	text := strings.Repeat("thethere", 1<<17) // 1 MB without a space
	if got := tok.Decode(tok.Encode(text)); got != text {
		t.Error("it did not come back")
	}
}

func FuzzModel(f *testing.F) {
	f.Add(newTestModel(true, "▁", "a", "b", "ab", "▁a").bytes())
	f.Add(newTestModel(false, "▁", "a", "b", "ab", "a▁").bytes())
	f.Add(newTestModelWithStrayByte())
	f.Add(golden.Read(f, "model/spm/small.model"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Load(data, "fuzz")
		if err != nil {
			var list problem.List
			if tok != nil || !errors.As(err, &list) {
				t.Errorf("%v, %T: %v", tok, err, err)
			}
			for _, p := range list {
				if p.Offset < 0 || p.Offset > int64(len(data)) {
					t.Errorf("a problem outside the file: %v", p)
				}
			}
			return
		}
		for _, text := range []string{"a b", "▁▁", "\xff日本", "<s>\x00", string(data[:min(len(data), 300)])} {
			ids := tok.Encode(text)
			for _, id := range ids {
				if id < 0 || int(id) >= tok.VocabSize() || tok.IsControl(id) {
					t.Errorf("%q gave id %d", text, id)
				}
			}
			if tok.Decode(ids); !tok.cutting.unused && !slices.Equal(ids, slowly(tok, text, tok.dummyPrefix)) {
				t.Errorf("%q: got %v, want %v", text, ids, slowly(tok, text, tok.dummyPrefix))
			}
		}
	})
}
