package ops

import "fmt"

// Reference is the specification of Backend: plain Go, one element after the
// other, sums in float64. It is slow on purpose.
type Reference struct{}

// NewReference returns the oracle that opstest holds other backends to.
func NewReference() *Reference { return &Reference{} }

var _ Backend = (*Reference)(nil)

// memory is a Reference buffer; exactly one of the slices is set.
type memory struct {
	f []float32
	i []int32
	b []uint8
}

func (m *memory) Len() int { return len(m.f) + len(m.i) + len(m.b) }

func (m *memory) Type() Type {
	switch {
	case m.f != nil:
		return Float32
	case m.i != nil:
		return Int32
	}
	return Uint8
}

func (m *memory) Slice(lo, hi int) Buf {
	switch m.Type() {
	case Float32:
		return &memory{f: m.f[lo:hi:hi]}
	case Int32:
		return &memory{i: m.i[lo:hi:hi]}
	}
	return &memory{b: m.b[lo:hi:hi]}
}

func (*Reference) Name() string { return "reference" }
func (*Reference) Tier() string { return "reference" }

func (*Reference) Alloc(t Type, n int) (Buf, error) {
	switch t {
	case Float32:
		return &memory{f: make([]float32, n)}, nil
	case Int32:
		return &memory{i: make([]int32, n)}, nil
	case Uint8:
		return &memory{b: make([]uint8, n)}, nil
	}
	panic(fmt.Sprintf("internal error: ops: alloc of type %d", t))
}

func (*Reference) Free(Buf)    {}
func (*Reference) Sync() error { return nil }
func (*Reference) Close()      {}

func (*Reference) Upload(dst Buf, src any) {
	m := dst.(*memory)
	var n int
	switch s := src.(type) {
	case []float32:
		n = copy(m.f, s) - len(s)
	case []int32:
		n = copy(m.i, s) - len(s)
	case []uint8:
		n = copy(m.b, s) - len(s)
	default:
		panic(fmt.Sprintf("internal error: ops: upload from %T", src))
	}
	if n != 0 {
		panic(fmt.Sprintf("internal error: ops: upload of %T does not fit %d %s", src, dst.Len(), dst.Type()))
	}
}

func (*Reference) Download(dst any, src Buf) {
	m := src.(*memory)
	var n int
	switch d := dst.(type) {
	case []float32:
		n = copy(d, m.f) - len(d)
	case []int32:
		n = copy(d, m.i) - len(d)
	case []uint8:
		n = copy(d, m.b) - len(d)
	default:
		panic(fmt.Sprintf("internal error: ops: download to %T", dst))
	}
	if n != 0 {
		panic(fmt.Sprintf("internal error: ops: download to %T from %d %s", dst, src.Len(), src.Type()))
	}
}

// floats gives the first n elements of a float32 buffer.
func floats(b Buf, n int) []float32 {
	f := b.(*memory).f
	if len(f) < n {
		panic(fmt.Sprintf("internal error: ops: want %d float32, have %d %s", n, b.Len(), b.Type()))
	}
	return f[:n]
}

func ints(b Buf, n int) []int32 {
	i := b.(*memory).i
	if len(i) < n {
		panic(fmt.Sprintf("internal error: ops: want %d int32, have %d %s", n, b.Len(), b.Type()))
	}
	return i[:n]
}

// weightRows returns the weight as float32 (Out, In).
func weightRows(w Weight) []float32 {
	if w.Dense != nil {
		return floats(w.Dense, w.Out*w.In)
	}
	out := make([]float32, w.Out*w.In)
	codes, absmax := w.Codes.(*memory).b, w.Absmax.(*memory).f
	for r := range w.Out {
		DequantizeRow(out[r*w.In:], codes, absmax, r, w.In, w.BFloat16)
	}
	return out
}
