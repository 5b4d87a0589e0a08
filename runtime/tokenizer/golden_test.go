package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pipe/internal/golden"
)

func load(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Open(golden.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// goldenStrings calls check for each line of spm_strings.jsonl.
func goldenStrings(t testing.TB, check func(text string, ids map[string][]int32)) {
	t.Helper()
	lines := golden.Lines(t, "tokenizer/spm_strings.jsonl")
	if len(lines) == 0 {
		t.Fatal("no strings")
	}
	for i, line := range lines {
		var c struct {
			Text      *string
			B64       []byte // base64
			V1        []int32
			V1NoDummy []int32 `json:"v1_nodummy"`
			V3        []int32
			V3NoDummy []int32 `json:"v3_nodummy"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		text := string(c.B64)
		if c.Text != nil {
			text = *c.Text
		}
		check(text, map[string][]int32{"v1": c.V1, "v1_nodummy": c.V1NoDummy, "v3": c.V3, "v3_nodummy": c.V3NoDummy})
	}
}

func TestGoldenStringsOfMistral(t *testing.T) {
	for _, version := range []string{"v1", "v3"} {
		t.Run(version, func(t *testing.T) {
			tok := load(t, "tokenizer/tokenizer.model."+version)
			for range 2 { // the second time the words are in the cache
				goldenStrings(t, func(text string, ids map[string][]int32) {
					if got := tok.Encode(text); !slices.Equal(got, ids[version]) {
						t.Errorf("%.80q: got %v, want %v", text, got, ids[version])
					}
					if got := tok.EncodeNoPrefix(text); !slices.Equal(got, ids[version+"_nodummy"]) {
						t.Errorf("%.80q without prefix: got %v, want %v", text, got, ids[version+"_nodummy"])
					}
				})
			}
		})
	}
}

func TestGoldenStringsDecodeToThemselves(t *testing.T) {
	for _, name := range []string{"tokenizer/tokenizer.model.v1", "tokenizer/tokenizer.model.v3", "model/spm/small.model"} {
		t.Run(name, func(t *testing.T) {
			tok := load(t, name)
			goldenStrings(t, func(text string, _ map[string][]int32) {
				roundTrip(t, tok, text)
			})
		})
	}
}

func TestGoldenSmallModel(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	for _, line := range golden.Lines(t, "model/spm/encode_cases.jsonl") {
		var c struct {
			Text, Decoded string
			IDs           []int32
			Pieces        []string
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		got := tok.Encode(c.Text)
		if !slices.Equal(got, c.IDs) {
			t.Errorf("%q: got %v, want %v", c.Text, got, c.IDs)
		}
		for i, id := range got {
			if i < len(c.Pieces) && tok.Piece(id) != c.Pieces[i] {
				t.Errorf("%q: piece %d is %q, want %q", c.Text, i, tok.Piece(id), c.Pieces[i])
			}
		}
		if text := tok.Decode(c.IDs); text != c.Decoded {
			t.Errorf("%v: got %q, want %q", c.IDs, text, c.Decoded)
		}
	}
	for _, line := range golden.Lines(t, "model/spm/decode_cases.jsonl") {
		var c struct {
			IDs     []int32
			Decoded string
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		if text := tok.Decode(c.IDs); text != c.Decoded {
			t.Errorf("%v: got %q, want %q", c.IDs, text, c.Decoded)
		}
	}
}

func TestGoldenSmallVocabulary(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	var lines []byte
	for i, p := range tok.pieces {
		lines = fmt.Appendf(lines, "%s\t%v\n", p.text, p.score+0) // -0 is written 0
		if i == tok.VocabSize()-1 {
			lines = lines[:len(lines)-1]
		}
	}
	want := golden.Read(t, "model/spm/small.vocab")
	if diff := golden.Diff(string(want), string(append(lines, '\n'))); diff != "" {
		t.Error(diff)
	}
}

func TestGoldenMistralVocabularies(t *testing.T) {
	v1, v3 := load(t, "tokenizer/tokenizer.model.v1"), load(t, "tokenizer/tokenizer.model.v3")
	if v1.VocabSize() != 32000 || v3.VocabSize() != 32768 {
		t.Errorf("got %d and %d pieces", v1.VocabSize(), v3.VocabSize())
	}
	for _, tok := range []*Tokenizer{v1, v3} {
		if tok.UNK() != 0 || tok.BOS() != 1 || tok.EOS() != 2 {
			t.Errorf("got unk %d, bos %d, eos %d", tok.UNK(), tok.BOS(), tok.EOS())
		}
		if !tok.cutting.atWords || tok.cutting.unused {
			t.Error("words are not encoded each for itself")
		}
	}
	for name, want := range map[string]int32{"[INST]": 3, "[/INST]": 4, "<s>": 1} {
		if id, ok := v3.Control(name); !ok || id != want {
			t.Errorf("%s: got %d, %v", name, id, ok)
		}
	}
	for _, name := range []string{"[INST]", "<unk>", "<0x0A>", "a", ""} {
		if id, ok := v1.Control(name); ok {
			t.Errorf("%q is control piece %d of v1", name, id)
		}
	}
	if want := "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055"; v1.Digest() != want {
		t.Errorf("digest: got %s, want %s", v1.Digest(), want)
	}
}

func TestTextNeverBecomesAControlPiece(t *testing.T) {
	for _, name := range []string{"tokenizer/tokenizer.model.v1", "tokenizer/tokenizer.model.v3"} {
		t.Run(name, func(t *testing.T) {
			tok := load(t, name)
			for _, p := range tok.pieces {
				if p.kind == kindNormal || p.kind == kindUserDefined {
					continue
				}
				for _, text := range []string{p.text, " " + p.text + " ", p.text + p.text} {
					for _, id := range tok.Encode(text) {
						if k := tok.pieces[id].kind; k == kindControl || k == kindUnknown {
							t.Errorf("%q gave %q", text, tok.Piece(id))
						}
					}
				}
			}
		})
	}
}

// prose is text to measure with: the strings of the golden set that are text.
func prose(b *testing.B) string {
	var text []byte
	for _, line := range golden.Lines(b, "tokenizer/spm_strings.jsonl") {
		var c struct{ Cat, Text string }
		if json.Unmarshal(line, &c) == nil && c.Cat == "text" {
			text = append(append(text, c.Text...), '\n')
		}
	}
	return string(text)
}

func BenchmarkEncode(b *testing.B) {
	tok := load(b, "tokenizer/tokenizer.model.v1")
	text := prose(b)
	mixed := ""
	goldenStrings(b, func(text string, _ map[string][]int32) { mixed += text })
	oneWord := base64.RawStdEncoding.EncodeToString([]byte(mixed))
	for _, c := range []struct {
		name, text string
		cold       bool
	}{{"prose", text, false}, {"prose/cold", text, true}, {"mixed", mixed, false}, {"mixed/cold", mixed, true}, {"no-space", oneWord, false}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				if c.cold {
					for i := range tok.cache.slots {
						tok.cache.slots[i].Store(nil)
					}
				}
				tok.Encode(c.text)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := load(b, "tokenizer/tokenizer.model.v1")
	text := prose(b)
	ids := tok.Encode(text)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tok.Decode(ids)
	}
}

func BenchmarkLoad(b *testing.B) {
	data := golden.Read(b, "tokenizer/tokenizer.model.v1")
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(data, "x"); err != nil {
			b.Fatal(err)
		}
	}
}
