package opstest

import (
	"fmt"
	"math"

	"pipe/runtime/ops"
)

func memoryCases() []testCase {
	nothing := func(*machine) {}
	return []testCase{
		{"Name", "is not empty", func(m *machine) {
			if m.Name() == "" {
				m.fault("the backend has no name")
			}
		}},
		{"Tier", "is not empty", func(m *machine) {
			if m.Tier() == "" {
				m.fault("the backend has no tier")
			}
		}},
		{"Alloc", "returns zeros", func(m *machine) {
			for _, n := range []int{0, 1, 15, 17, 1000} {
				b := m.alloc(ops.Float32, n)
				if b.Len() != n || b.Type() != ops.Float32 {
					m.fault("got %d %s, want %d float32", b.Len(), b.Type(), n)
				}
				m.exact(fmt.Sprintf("%d float32", n), m.read(b))
				m.exact(fmt.Sprintf("%d int32", n), m.readInts(m.alloc(ops.Int32, n)))
				m.exact(fmt.Sprintf("%d uint8", n), m.readBytes(m.alloc(ops.Uint8, n)))
			}
		}},
		{"Free", "leaves other buffers alone", func(m *machine) {
			a, _ := m.Alloc(ops.Float32, 100)
			b := m.random(100)
			m.Free(a)
			c := m.random(100)
			m.exact("b", m.read(b))
			m.exact("c", m.read(c))
		}},
		{"Upload", "keeps every bit", func(m *machine) {
			nan := float32(math.NaN())
			m.exact("float32", m.read(m.floats([]float32{1, -0.5, float32(math.Copysign(0, -1)), float32(math.Inf(1)), nan, 1e-42})))
			m.exact("int32", m.readInts(m.ints([]int32{0, -1, 1 << 20})))
			m.exact("uint8", m.readBytes(m.bytes([]uint8{0, 1, 255})))
		}},
		{"Download", "reads a slice", func(m *machine) {
			f, i, b := m.random(100), m.ints([]int32{1, 2, 3, 4, 5}), m.bytes([]uint8{9, 8, 7, 6})
			m.exact("float32", m.read(f.Slice(7, 42)))
			m.exact("slice of a slice", m.read(f.Slice(7, 42).Slice(1, 3)))
			m.exact("empty slice", m.read(f.Slice(7, 7)))
			m.exact("int32", m.readInts(i.Slice(1, 4)))
			m.exact("uint8", m.readBytes(b.Slice(2, 4)))
			m.Upload(f.Slice(10, 12), []float32{1, 2})
			m.exact("a slice shares memory", m.read(f))
		}},
		{"Sync", "without work", nothing}, // hold calls Sync after every case
		{"Close", "at the end", nothing},  // Run calls it
		{"Embed", "rows in any order", func(m *machine) {
			for _, width := range []int{1, 7, 64, 257} {
				table, out := m.random(10*width), m.dirty(6*width)
				m.Embed(out, table, m.ints([]int32{9, 0, 3, 3, 1, 9}), width)
				m.exact(fmt.Sprintf("out, width %d", width), m.read(out))
			}
		}},
		{"GatherRows", "rows in any order", func(m *machine) {
			for _, width := range []int{1, 7, 64, 257} {
				dst, src := m.dirty(4*width), m.random(50*width)
				m.GatherRows(dst, src, m.ints([]int32{49, 0, 12, 12}), width)
				m.exact(fmt.Sprintf("dst, width %d", width), m.read(dst))
			}
		}},
		{"GatherRows", "many rows", func(m *machine) {
			const width, n = 100, 700
			index := make([]int32, n)
			for i := range index {
				index[i] = int32(i * 37 % n)
			}
			dst, src := m.dirty(n*width), m.random(n*width)
			m.GatherRows(dst, src, m.ints(index), width)
			m.exact("dst", m.read(dst))
		}},
		{"ScatterRows", "leaves other rows alone", func(m *machine) {
			for _, width := range []int{1, 7, 64, 257} {
				dst, src := m.random(10*width), m.random(3*width)
				m.ScatterRows(dst, src, m.ints([]int32{9, 0, 4}), width)
				m.exact(fmt.Sprintf("dst, width %d", width), m.read(dst))
			}
		}},
	}
}

func (m *machine) readBytes(b ops.Buf) []float32 {
	x := make([]uint8, b.Len())
	m.Download(x, b)
	f := make([]float32, len(x))
	for i, v := range x {
		f[i] = float32(v)
	}
	return f
}
