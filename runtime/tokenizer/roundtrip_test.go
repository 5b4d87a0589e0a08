package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pipe/internal/golden"
)

// roundTrip sees that text comes back, at once and piece by piece, but for what
// pieces cannot tell apart: ▁ and a space, U+FFFD and what is not UTF-8.
func roundTrip(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	want := strings.ReplaceAll(string([]rune(text)), space, " ")
	ids := tok.Encode(text)
	if got := tok.Decode(ids); got != want {
		t.Errorf("%.80q came back as %.80q", text, got)
	}
	bare := tok.EncodeNoPrefix(text)
	if got := tok.DecodeNoPrefix(bare); got != want {
		t.Errorf("%.80q without prefix came back as %.80q", text, got)
	}
	for _, id := range ids {
		if tok.IsControl(id) || id == tok.UNK() {
			t.Errorf("%.80q gave %q", text, tok.Piece(id))
		}
	}
	s := tok.NewStream()
	var streamed strings.Builder
	for _, id := range ids {
		part := s.Push(id)
		if !utf8.ValidString(part) {
			t.Errorf("%.80q: half a character was given out", text)
		}
		streamed.WriteString(part)
	}
	streamed.WriteString(s.Flush())
	if streamed.String() != want {
		t.Errorf("%.80q was streamed as %.80q", text, streamed.String())
	}
}

// roundTripModels are all models that are at hand.
func roundTripModels(t testing.TB) []*Tokenizer {
	tokens := []*Tokenizer{load(t, "model/spm/small.model")}
	for _, name := range []string{"tokenizer/tokenizer.model.v1", "tokenizer/tokenizer.model.v3"} {
		if tok, err := Open(golden.Root(t) + "/../shared/goldens/" + name); err == nil {
			tokens = append(tokens, tok)
		}
	}
	return tokens
}

func FuzzRoundTrip(f *testing.F) {
	models := roundTripModels(f)
	for _, text := range []string{"", " ", "  two  spaces ", "▁", "\u2581 \u2581", "naïve 日本語 🇫🇷👩‍👩‍👧", "<s>[INST] x [/INST]</s><0x0A>",
		"[REFERENCE_DOC_3]", "\x00\n\t\r\u2028", "a\ufffd", strings.Repeat("\u2581", 70), strings.Repeat("ab", 70)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			text = strings.ToValidUTF8(text, "\ufffd")
		}
		for _, tok := range models {
			roundTrip(t, tok, text)
			if again := tok.Encode(text); !slices.Equal(again, tok.Encode(text)) {
				t.Errorf("%.80q has other ids from the cache", text)
			}
		}
	})
}

func TestStreamGivesCharactersAsSoonAsTheyAreComplete(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	id := func(piece string) int32 {
		i, ok := tok.ids[piece]
		if !ok {
			t.Fatalf("no piece %q", piece)
		}
		return i
	}
	s := tok.NewStream()
	steps := []struct{ piece, want string }{
		{"<s>", ""}, {"▁the", "the"}, {"▁the", " the"}, {"<0xE2>", ""}, {"<0x82>", ""}, {"<0xAC>", "€"},
		{"<0xE2>", ""}, {"<0x82>", ""}, {"</s>", "\ufffd\ufffd"}, {"<0xC3>", ""}, {"<0x28>", "\ufffd("}, {"<0xF0>", ""}, {"▁the", "\ufffd the"},
		{"<0xE2>", ""},
	}
	var all []int32
	text := ""
	for i, step := range steps {
		all = append(all, id(step.piece))
		got := s.Push(id(step.piece))
		if got != step.want {
			t.Errorf("step %d, %s: got %q, want %q", i, step.piece, got, step.want)
		}
		text += got
	}
	if got := s.Flush(); got != "\ufffd" {
		t.Errorf("flush: got %q", got)
	}
	if want := tok.Decode(all); text+"\ufffd" != want {
		t.Errorf("streamed %q, decoded %q", text+"\ufffd", want)
	}
}

func TestDecodeOfIDsThatDoNotExist(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	if got, want := tok.Decode([]int32{-1, int32(tok.VocabSize())}), " \u2047  \u2047 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if tok.Piece(-1) != "" || tok.Piece(int32(tok.VocabSize())) != "" {
		t.Error("a piece without an id")
	}
}

func TestManyGoroutinesGetTheSameIDs(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	var texts []string
	var want [][]int32
	for _, line := range golden.Lines(t, "model/spm/encode_cases.jsonl") {
		var c struct {
			Text string
			IDs  []int32
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		texts, want = append(texts, c.Text), append(want, c.IDs)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for i, text := range texts {
					if got := tok.Encode(text); !slices.Equal(got, want[i]) {
						t.Errorf("%q: got %v, want %v", text, got, want[i])
					}
				}
			}
		})
	}
	wg.Wait()
}
