package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"pipe/internal/problem"
)

// Limits on what a file may hold. Mistral's models have 32,768 pieces of up to
// 48 bytes in 0.6 MB; the largest known one has 256,000 in 4.2 MB.
const (
	maxFile   = 64 << 20
	maxPieces = 1_000_000
	maxPiece  = 256 // bytes
)

// kind is the type of a piece, as the file numbers it.
type kind uint8

const (
	kindNormal kind = iota + 1
	kindUnknown
	kindControl
	kindUserDefined
	kindUnused
	kindByte
)

// piece is an entry of the vocabulary.
type piece struct {
	text  string
	score float32
	kind  kind
	at    int // the byte of the file
}

// isText says whether merging may lead to the piece.
func (p piece) isText() bool {
	return p.kind == kindNormal || p.kind == kindUserDefined || p.kind == kindUnused
}

// space is how pieces spell a space.
const space = "\u2581"

// Tokenizer encodes and decodes. It may be used by several goroutines at a time.
type Tokenizer struct {
	pieces        []piece
	ids           map[string]int32
	unk, bos, eos int32
	byteIDs       [256]int32 // if byteFallback
	byteFallback  bool
	dummyPrefix   bool
	unkSurface    string
	digest        string

	merges  merges
	cutting cutting
	cache   wordCache
	scratch sync.Pool // of *scratch
}

// Open reads a tokenizer.model.
func Open(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, problem.List{{File: path, Message: "not an ordinary file"}}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return Load(data, path)
}

// Load reads the bytes of a tokenizer.model; name stands for the file in
// messages. What is wrong with it, or cannot be encoded with exactly, is returned
// as a problem.List with byte offsets. data is not kept.
func Load(data []byte, name string) (*Tokenizer, error) {
	if len(data) > maxFile {
		return nil, problem.List{problem.AtByte(name, maxFile, "longer than %d bytes: no tokenizer.model", maxFile)}
	}
	if strings.HasPrefix(string(data[:min(len(data), 32)]), "version https://git-lfs") {
		return nil, problem.List{problem.AtByte(name, 0, "this is no tokenizer.model").
			WithHint("it is the pointer that Git LFS leaves for a file not fetched: run `git lfs pull`")}
	}
	m, err := parseModel(data)
	if at := (*badByte)(nil); errors.As(err, &at) {
		return nil, problem.List{at.problem(name)}
	}
	v := &validator{file: name, model: m, t: &Tokenizer{pieces: m.pieces}}
	v.validate()
	if err := v.problems.Err(); err != nil {
		return nil, err
	}
	t := v.t
	digest := sha256.Sum256(data)
	t.digest = hex.EncodeToString(digest[:])
	if err := t.merges.build(t.pieces, t.ids); err != nil {
		return nil, problem.List{{File: name, Message: err.Error()}}
	}
	t.cutting.build(t.pieces)
	t.scratch.New = func() any { return new(scratch) }
	return t, nil
}

// VocabSize returns the number of pieces: ids are below it.
func (t *Tokenizer) VocabSize() int { return len(t.pieces) }

// BOS returns the id of the piece that begins a text (<s>), -1 if there is none.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS returns the id of the piece that ends a text (</s>), -1 if there is none.
func (t *Tokenizer) EOS() int32 { return t.eos }

// UNK returns the id of the piece for unknown text.
func (t *Tokenizer) UNK() int32 { return t.unk }

// Piece returns the text of a piece as the vocabulary spells it, with ▁ for a
// space; empty if there is no such id.
func (t *Tokenizer) Piece(id int32) string {
	if id < 0 || int(id) >= len(t.pieces) {
		return ""
	}
	return t.pieces[id].text
}

// Control returns the id of a control piece, such as "[INST]" in Mistral's
// third vocabulary; false if there is none of that name.
func (t *Tokenizer) Control(name string) (int32, bool) {
	id, ok := t.ids[name]
	if !ok || !t.IsControl(id) {
		return 0, false
	}
	return id, true
}

// IsControl says whether id is that of a control piece.
func (t *Tokenizer) IsControl(id int32) bool {
	return id >= 0 && int(id) < len(t.pieces) && t.pieces[id].kind == kindControl
}

// Digest returns the SHA-256 of the model's file, in hexadecimal. Two tokenizers
// with the same digest give the same ids.
func (t *Tokenizer) Digest() string { return t.digest }
