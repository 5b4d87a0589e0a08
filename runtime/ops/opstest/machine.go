package opstest

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"pipe/runtime/ops"
)

// machine is a backend in the hands of a case: it makes buffers of random
// numbers, remembers what to free, and collects results.
type machine struct {
	ops.Backend
	rand    *rand.Rand
	bufs    []ops.Buf
	results []result
	faults  []error
}

func newMachine(b ops.Backend, name string) *machine {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &machine{Backend: b, rand: rand.New(rand.NewPCG(h.Sum64(), 1))}
}

func (m *machine) free() {
	for _, b := range m.bufs {
		m.Backend.Free(b)
	}
	m.bufs = nil
}

func (m *machine) alloc(t ops.Type, n int) ops.Buf {
	b, err := m.Backend.Alloc(t, n)
	if err != nil {
		panic(fmt.Sprintf("alloc of %d %s: %v", n, t, err))
	}
	m.bufs = append(m.bufs, b)
	return b
}

// zeros returns a buffer of n float32.
func (m *machine) zeros(n int) ops.Buf { return m.alloc(ops.Float32, n) }

// dirty returns a buffer of n float32 that an operation is to overwrite whole.
func (m *machine) dirty(n int) ops.Buf {
	b := m.zeros(n)
	junk := make([]float32, n)
	for i := range junk {
		junk[i] = float32(math.NaN())
	}
	m.Upload(b, junk)
	return b
}

func (m *machine) floats(x []float32) ops.Buf {
	b := m.zeros(len(x))
	m.Upload(b, x)
	return b
}

func (m *machine) ints(x []int32) ops.Buf {
	b := m.alloc(ops.Int32, len(x)) // nil is an empty one
	m.Upload(b, x)
	return b
}

func (m *machine) bytes(x []uint8) ops.Buf {
	b := m.alloc(ops.Uint8, len(x))
	m.Upload(b, x)
	return b
}

// normal returns n numbers of the normal distribution with deviation sigma.
func (m *machine) normal(n int, sigma float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(m.rand.NormFloat64() * sigma)
	}
	return x
}

// random is a buffer of normal numbers.
func (m *machine) random(n int) ops.Buf { return m.floats(m.normal(n, 1)) }

func (m *machine) read(b ops.Buf) []float32 {
	x := make([]float32, b.Len())
	m.Download(x, b)
	return x
}

func (m *machine) readInts(b ops.Buf) []float32 {
	x := make([]int32, b.Len())
	m.Download(x, b)
	f := make([]float32, len(x))
	for i, v := range x {
		f[i] = float32(v)
	}
	return f
}

// result records what the operation has written to b.
func (m *machine) result(name string, b ops.Buf) {
	m.results = append(m.results, result{name: name, values: m.read(b)})
}

// exact records values that must equal the reference's.
func (m *machine) exact(name string, values []float32) {
	m.results = append(m.results, result{name: name, values: values, exact: true})
}

// same demands that two ways to compute a row give the same bits.
func (m *machine) same(what string, got, want []float32) {
	if i := difference(got, want); i >= 0 {
		m.fault("law 2: %s: [%d] of %d: got %v, want %v", what, i, len(want), at(got, i), at(want, i))
	}
}

func at(x []float32, i int) any {
	if i < len(x) {
		return x[i]
	}
	return "nothing"
}

func (m *machine) fault(format string, args ...any) {
	m.faults = append(m.faults, fmt.Errorf(format, args...))
}

// rowsOf returns rows [lo, hi) of a matrix.
func rowsOf(x []float32, width, lo, hi int) []float32 { return x[lo*width : hi*width] }

// poison returns a copy of the matrix x (rows, width) in which all rows but
// [lo, hi) have values that must not get out of their rows.
func poison(x []float32, width, lo, hi int) []float32 {
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e30}
	p := make([]float32, len(x))
	for i, v := range x {
		p[i] = v
		if r := i / width; r < lo || r >= hi {
			p[i] = bad[i%len(bad)]
		}
	}
	return p
}
