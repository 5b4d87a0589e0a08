package tokenizer

import (
	"encoding/binary"
	"fmt"
	"math"

	"pipe/internal/problem"
)

// Field numbers of sentencepiece_model.proto.
const (
	modelPieces       = 1
	modelTrainer      = 2
	modelNormalizer   = 3
	modelDenormalizer = 5

	pieceText  = 1
	pieceScore = 2
	pieceKind  = 3

	trainerModelType    = 3
	trainerSuffix       = 24 // treat_whitespace_as_suffix
	trainerByteFallback = 35
	trainerUnkSurface   = 44
	trainerBOS          = 46
	trainerEOS          = 47

	normalizerCharsMap    = 2
	normalizerDummyPrefix = 3
	normalizerRemoveSpace = 4 // remove_extra_whitespaces
	normalizerEscapeSpace = 5 // escape_whitespaces
)

// modelTypeBPE is the only model type that is read; 1, the default, is unigram.
const modelTypeBPE = 2

// protoModel is a tokenizer.model as it stands in the file.
type protoModel struct {
	pieces    []piece
	modelType uint64
	suffix    bool

	byteFallback                          bool
	unkSurface, bosPiece, eosPiece        string
	charsMap, outputCharsMap              bool
	dummyPrefix, removeSpace, escapeSpace bool
}

// protoReader reads protocol buffer messages without recursion: what is not
// known is stepped over by its length.
type protoReader struct {
	data []byte
	base int // the byte of the file at which data begins
	pos  int
}

// field is one field of a message.
type field struct {
	number int
	wire   int
	varint uint64 // wire types 0, 1 and 5
	data   []byte // wire type 2
	at     int    // the byte of the file that data, or the number, begins at
}

// Wire types of protocol buffers.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// badByte is a problem at a byte of the file.
type badByte struct {
	at      int
	message string
}

func (e *badByte) Error() string { return e.message }

func bad(at int, format string, args ...any) error {
	return &badByte{at, fmt.Sprintf(format, args...)}
}

// problem places the error in the file called name.
func (e *badByte) problem(name string) problem.Problem {
	return problem.AtByte(name, int64(e.at), "%s", e.message)
}

// next reads a field; false at the end of the message.
func (r *protoReader) next() (field, bool, error) {
	if r.pos == len(r.data) {
		return field{}, false, nil
	}
	start := r.base + r.pos
	tag, err := r.varint()
	if err != nil {
		return field{}, false, err
	}
	f := field{number: int(tag >> 3), wire: int(tag & 7)}
	if tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return f, false, bad(start, "%d is no field number", tag>>3)
	}
	f.at = r.base + r.pos
	switch f.wire {
	case wireVarint:
		f.varint, err = r.varint()
	case wireFixed64:
		var b []byte
		if b, err = r.take(8); err == nil {
			f.varint = binary.LittleEndian.Uint64(b)
		}
	case wireFixed32:
		var b []byte
		if b, err = r.take(4); err == nil {
			f.varint = uint64(binary.LittleEndian.Uint32(b))
		}
	case wireBytes:
		var n uint64
		if n, err = r.varint(); err == nil {
			f.at = r.base + r.pos
			f.data, err = r.take(n)
		}
	default:
		err = bad(start, "wire type %d of field %d is not used by SentencePiece", f.wire, f.number)
	}
	return f, err == nil, err
}

func (r *protoReader) varint() (uint64, error) {
	v, n := binary.Uvarint(r.data[r.pos:])
	if n <= 0 {
		return 0, bad(r.base+r.pos, "a number is cut off or longer than 64 bits")
	}
	r.pos += n
	return v, nil
}

func (r *protoReader) take(n uint64) ([]byte, error) {
	if have := uint64(len(r.data) - r.pos); n > have {
		return nil, bad(r.base+r.pos, "%d bytes are announced, %d are there: the file was cut short or is no tokenizer.model", n, have)
	}
	b := r.data[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b, nil
}

// each calls read for every field of the message.
func (r *protoReader) each(read func(f field) error) error {
	for {
		f, ok, err := r.next()
		if err != nil || !ok {
			return err
		}
		if err := read(f); err != nil {
			return err
		}
	}
}

// needWire fails if f is not of the wire type that its number has.
func (f field) needWire(wire int) error {
	if f.wire != wire {
		return bad(f.at, "field %d has wire type %d, not %d: this is no SentencePiece model", f.number, f.wire, wire)
	}
	return nil
}

func (f field) bool(into *bool) error {
	*into = f.varint != 0
	return f.needWire(wireVarint)
}

func (f field) text(into *string) error {
	*into = string(f.data)
	return f.needWire(wireBytes)
}

// message returns a reader of the message in f.
func (f field) message() (*protoReader, error) {
	return &protoReader{data: f.data, base: f.at}, f.needWire(wireBytes)
}

// parseModel reads the fields that decide how text is encoded. Defaults are
// those of the schema.
func parseModel(data []byte) (*protoModel, error) {
	m := &protoModel{
		modelType: 1, dummyPrefix: true, removeSpace: true, escapeSpace: true,
		unkSurface: " \u2047 ", bosPiece: "<s>", eosPiece: "</s>",
	}
	r := &protoReader{data: data}
	err := r.each(func(f field) error {
		switch f.number {
		case modelPieces, modelTrainer, modelNormalizer, modelDenormalizer:
		default:
			return nil
		}
		sub, err := f.message()
		if err != nil {
			return err
		}
		switch f.number {
		case modelTrainer:
			return sub.each(m.trainer)
		case modelNormalizer:
			return sub.each(m.normalizer)
		case modelDenormalizer:
			return sub.each(func(f field) error {
				m.outputCharsMap = m.outputCharsMap || f.number == normalizerCharsMap && len(f.data) > 0
				return nil
			})
		}
		if len(m.pieces) == maxPieces {
			return bad(f.at, "more than %d pieces", maxPieces)
		}
		p, err := parsePiece(sub, f.at)
		m.pieces = append(m.pieces, p)
		return err
	})
	return m, err
}

func parsePiece(r *protoReader, at int) (piece, error) {
	p := piece{kind: kindNormal, at: at}
	err := r.each(func(f field) error {
		switch f.number {
		case pieceText:
			return f.text(&p.text)
		case pieceScore:
			p.score = math.Float32frombits(uint32(f.varint))
			return f.needWire(wireFixed32)
		case pieceKind:
			if f.varint < uint64(kindNormal) || f.varint > uint64(kindByte) {
				return bad(f.at, "piece of the unknown type %d", f.varint)
			}
			p.kind = kind(f.varint)
			return f.needWire(wireVarint)
		}
		return nil
	})
	return p, err
}

func (m *protoModel) trainer(f field) error {
	switch f.number {
	case trainerModelType:
		m.modelType = f.varint
		return f.needWire(wireVarint)
	case trainerSuffix:
		return f.bool(&m.suffix)
	case trainerByteFallback:
		return f.bool(&m.byteFallback)
	case trainerUnkSurface:
		return f.text(&m.unkSurface)
	case trainerBOS:
		return f.text(&m.bosPiece)
	case trainerEOS:
		return f.text(&m.eosPiece)
	}
	return nil
}

func (m *protoModel) normalizer(f field) error {
	switch f.number {
	case normalizerCharsMap:
		m.charsMap = len(f.data) > 0
		return f.needWire(wireBytes)
	case normalizerDummyPrefix:
		return f.bool(&m.dummyPrefix)
	case normalizerRemoveSpace:
		return f.bool(&m.removeSpace)
	case normalizerEscapeSpace:
		return f.bool(&m.escapeSpace)
	}
	return nil
}
