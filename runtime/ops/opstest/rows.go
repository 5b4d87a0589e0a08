package opstest

import (
	"fmt"
	"math"

	"pipe/runtime/ops"
)

var widths = []int{1, 3, 16, 17, 64, 100, 257, 704}

func rowCases() []testCase {
	const eps = 1e-5
	var all []testCase
	for i, width := range widths {
		rows := rowCounts[i]
		name := fmt.Sprintf("%d rows of %d", rows, width)
		all = append(all, testCase{"RMSNorm", name, func(m *machine) {
			x, w, y := m.random(rows*width), m.random(width), m.dirty(rows*width)
			m.RMSNorm(y, x, w, rows, width, eps)
			m.result("y", y)
		}}, testCase{"RMSNormBackward", name, func(m *machine) {
			x, w, dy, dx := m.random(rows*width), m.random(width), m.random(rows*width), m.random(rows*width)
			m.RMSNormBackward(dx, dy, x, w, rows, width, eps)
			m.result("dx", dx)
		}}, testCase{"Argmax", name, func(m *machine) {
			x := m.normal(rows*width, 1)
			for i := range x { // many equal numbers
				x[i] = float32(math.Round(float64(x[i])))
			}
			out := m.alloc(ops.Int32, rows)
			m.Argmax(out, m.floats(x), rows, width)
			m.exact("out", m.readInts(out))
		}})
	}
	all = append(all, testCase{"RMSNorm", "of zeros and of large rows", func(m *machine) {
		const width = 64
		x := m.normal(3*width, 1)
		for c := range width {
			x[c], x[2*width+c] = 0, x[2*width+c]*1e6
		}
		y := m.dirty(3 * width)
		m.RMSNorm(y, m.floats(x), m.random(width), 3, width, eps)
		m.result("y", y)
	}}, testCase{"Argmax", "negative and infinite", func(m *machine) {
		x := []float32{-3, -2, -2, float32(math.Inf(-1)), -1, -1, float32(math.Inf(1)), 7, float32(math.Inf(1))}
		out := m.alloc(ops.Int32, 3)
		m.Argmax(out, m.floats(x), 3, 3)
		m.exact("out", m.readInts(out))
	}}, testCase{"RMSNorm", "law 2", func(m *machine) {
		const rows, width = 200, 100
		x, w := m.normal(rows*width, 1), m.random(width)
		norm := func(x []float32) []float32 {
			y := m.dirty(len(x))
			m.RMSNorm(y, m.floats(x), w, len(x)/width, width, eps)
			return m.read(y)
		}
		whole := norm(x)
		m.same("row 199 alone", norm(rowsOf(x, width, 199, 200)), rowsOf(whole, width, 199, 200))
		m.same("row 7 among rows that are not finite", rowsOf(norm(poison(x, width, 7, 8)), width, 7, 8), rowsOf(whole, width, 7, 8))
	}}, testCase{"RMSNormBackward", "law 2", func(m *machine) {
		const rows, width = 200, 100
		x, dy, w := m.normal(rows*width, 1), m.normal(rows*width, 1), m.random(width)
		backward := func(x, dy []float32) []float32 {
			dx := m.zeros(len(x))
			m.RMSNormBackward(dx, m.floats(dy), m.floats(x), w, len(x)/width, width, eps)
			return m.read(dx)
		}
		whole := backward(x, dy)
		m.same("row 199 alone", backward(rowsOf(x, width, 199, 200), rowsOf(dy, width, 199, 200)), rowsOf(whole, width, 199, 200))
		m.same("row 7 among rows that are not finite", rowsOf(backward(poison(x, width, 7, 8), dy), width, 7, 8), rowsOf(whole, width, 7, 8))
	}})
	for i, dim := range headDims {
		for _, inverse := range []bool{false, true} {
			rows, heads := rowCounts[i+2], 1+i%4
			all = append(all, testCase{"Rope", fmt.Sprintf("%d rows, %d heads of %d, inverse %v", rows, heads, dim, inverse), func(m *machine) {
				const positions = 50
				table := make([]float32, positions*dim)
				for p := range positions {
					for d := range dim / 2 {
						sin, cos := math.Sincos(float64(p) * math.Pow(10000, -2*float64(d)/float64(dim)))
						table[p*dim+d], table[p*dim+dim/2+d] = float32(cos), float32(sin)
					}
				}
				at := make([]int32, rows)
				for r := range at {
					at[r] = m.rand.Int32N(positions)
				}
				x := m.normal(rows*heads*dim, 1)
				whole, alone := m.floats(x), m.floats(rowsOf(x, heads*dim, rows-1, rows))
				m.Rope(whole, m.floats(table), m.ints(at), rows, heads, dim, inverse)
				m.result("x", whole)
				m.Rope(alone, m.floats(table), m.ints(at[rows-1:]), 1, heads, dim, inverse)
				m.same("the last row alone", m.read(alone), rowsOf(m.read(whole), heads*dim, rows-1, rows))
			}})
		}
	}
	return all
}
