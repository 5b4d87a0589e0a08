package cpu

import (
	"fmt"
	"unsafe"

	"pipe/runtime/ops"
)

const (
	// alignment is that of a cache line and of the widest vector, in bytes.
	alignment = 64
	// slack is how many float32 may be read behind a buffer: kernels load whole
	// vectors, at most two behind the last column of a tile, and drop what they do
	// not need.
	slack = 64
)

// aligned returns n zeroed float32 that begin on a cache line, with slack
// behind them.
func aligned(n int) []float32 {
	raw := make([]float32, n+slack+alignment/4)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % alignment / 4)
	return raw[skip : skip+n : skip+n]
}

// buffer is a Buf: a view of the one slice that has its type.
type buffer struct {
	floats []float32
	ints   []int32
	bytes  []uint8
	kind   ops.Type
}

var _ ops.Buf = (*buffer)(nil)

func (b *buffer) Len() int       { return len(b.floats) + len(b.ints) + len(b.bytes) }
func (b *buffer) Type() ops.Type { return b.kind }

func (b *buffer) Slice(lo, hi int) ops.Buf {
	if lo < 0 || hi < lo || hi > b.Len() {
		panic(fmt.Sprintf("internal error: cpu: slice [%d:%d] of %d %s", lo, hi, b.Len(), b.kind))
	}
	s := &buffer{kind: b.kind}
	switch b.kind {
	case ops.Float32:
		s.floats = b.floats[lo:hi:hi]
	case ops.Int32:
		s.ints = b.ints[lo:hi:hi]
	default:
		s.bytes = b.bytes[lo:hi:hi]
	}
	return s
}

// Alloc returns n zeroed elements, aligned to a cache line. It returns no error:
// where memory runs out, the Go runtime ends the program.
func (*Backend) Alloc(t ops.Type, n int) (ops.Buf, error) {
	if n < 0 {
		panic(fmt.Sprintf("internal error: cpu: alloc of %d %s", n, t))
	}
	b := &buffer{kind: t}
	switch t {
	case ops.Float32:
		b.floats = aligned(n)
	case ops.Int32:
		f := aligned(n)
		b.ints = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(f))), n)
	case ops.Uint8:
		f := aligned((n + 3) / 4)
		b.bytes = unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(f))), n)
	default:
		panic(fmt.Sprintf("internal error: cpu: alloc of %s elements", t))
	}
	return b, nil
}

// Free lets go of the memory of b, which must not be used again.
func (*Backend) Free(b ops.Buf) {
	buf := b.(*buffer)
	buf.floats, buf.ints, buf.bytes = nil, nil, nil
}

// Upload copies src, a []float32, []int32 or []uint8 of dst.Len elements.
func (*Backend) Upload(dst ops.Buf, src any) {
	b := dst.(*buffer)
	switch s := src.(type) {
	case []float32:
		if b.kind == ops.Float32 && len(s) == len(b.floats) {
			copy(b.floats, s)
			return
		}
	case []int32:
		if b.kind == ops.Int32 && len(s) == len(b.ints) {
			copy(b.ints, s)
			return
		}
	case []uint8:
		if b.kind == ops.Uint8 && len(s) == len(b.bytes) {
			copy(b.bytes, s)
			return
		}
	}
	panic(fmt.Sprintf("internal error: cpu: upload of %s to %d %s", describe(src), b.Len(), b.kind))
}

// Download copies src into dst, a []float32, []int32 or []uint8 of src.Len elements.
func (*Backend) Download(dst any, src ops.Buf) {
	b := src.(*buffer)
	switch d := dst.(type) {
	case []float32:
		if b.kind == ops.Float32 && len(d) == len(b.floats) {
			copy(d, b.floats)
			return
		}
	case []int32:
		if b.kind == ops.Int32 && len(d) == len(b.ints) {
			copy(d, b.ints)
			return
		}
	case []uint8:
		if b.kind == ops.Uint8 && len(d) == len(b.bytes) {
			copy(d, b.bytes)
			return
		}
	}
	panic(fmt.Sprintf("internal error: cpu: download of %d %s to %s", b.Len(), b.kind, describe(dst)))
}

func describe(slice any) string {
	switch s := slice.(type) {
	case []float32:
		return fmt.Sprintf("%d float32", len(s))
	case []int32:
		return fmt.Sprintf("%d int32", len(s))
	case []uint8:
		return fmt.Sprintf("%d uint8", len(s))
	}
	return fmt.Sprintf("%T", slice)
}

// Sync has nothing to wait for: every operation is done when it returns.
func (*Backend) Sync() error { return nil }

// floats gives the first n elements of the float32 buffer that an operation
// knows as name.
func floats(b ops.Buf, n int, name string) []float32 {
	if buf, ok := b.(*buffer); ok && buf.kind == ops.Float32 && len(buf.floats) >= n {
		return buf.floats[:n]
	}
	panic(mismatch(b, n, ops.Float32, name))
}

// ints gives the first n elements of an int32 buffer.
func ints(b ops.Buf, n int, name string) []int32 {
	if buf, ok := b.(*buffer); ok && buf.kind == ops.Int32 && len(buf.ints) >= n {
		return buf.ints[:n]
	}
	panic(mismatch(b, n, ops.Int32, name))
}

// bytes gives the first n elements of a uint8 buffer.
func bytes(b ops.Buf, n int, name string) []uint8 {
	if buf, ok := b.(*buffer); ok && buf.kind == ops.Uint8 && len(buf.bytes) >= n {
		return buf.bytes[:n]
	}
	panic(mismatch(b, n, ops.Uint8, name))
}

func mismatch(b ops.Buf, n int, t ops.Type, name string) string {
	if b == nil {
		return fmt.Sprintf("internal error: cpu: %s: want %d %s, have none", name, n, t)
	}
	return fmt.Sprintf("internal error: cpu: %s: want %d %s, have %d %s (%T)", name, n, t, b.Len(), b.Type(), b)
}

// arena is scratch memory that is handed out piece by piece and taken back as a
// whole. It grows to the largest need seen and then allocates no more.
type arena struct {
	memory []float32
	used   int
}

func (a *arena) reset() { a.used = 0 }

// take returns n float32 of any content that begin on a cache line.
func (a *arena) take(n int) []float32 {
	size := (n + alignment/4 - 1) &^ (alignment/4 - 1)
	if a.used+size > len(a.memory) {
		// What was taken before stays alive with its holder.
		a.memory, a.used = aligned(2*len(a.memory)+size), 0
	}
	s := a.memory[a.used : a.used+n : a.used+n]
	a.used += size
	return s
}
