package opstest

import (
	"fmt"
	"math"

	"pipe/runtime/ops"
)

// Lengths around vectors of 8 and 16, and beyond what one task may take.
var lengths = []int{1, 7, 8, 15, 16, 17, 100, 1000, 70001}

func elementCases() []testCase {
	var all []testCase
	for _, n := range lengths {
		name := fmt.Sprintf("%d elements", n)
		all = append(all, testCase{"SwiGLU", name, func(m *machine) {
			h, gate, up := m.dirty(n), m.floats(m.normal(n, 4)), m.random(n)
			m.SwiGLU(h, gate, up)
			m.result("h", h)
		}}, testCase{"SwiGLUBackward", name, func(m *machine) {
			dgate, dup, dh := m.dirty(n), m.dirty(n), m.random(n)
			m.SwiGLUBackward(dgate, dup, dh, m.floats(m.normal(n, 4)), m.random(n))
			m.result("dgate", dgate)
			m.result("dup", dup)
		}}, testCase{"Add", name, func(m *machine) {
			dst, src := m.random(n), m.random(n)
			m.Add(dst, src)
			m.result("dst", dst)
			m.exact("src", m.read(src))
		}}, testCase{"Scale", name, func(m *machine) {
			x := m.random(n)
			m.Scale(x, 0.3)
			m.result("x", x)
		}}, testCase{"Fill", name, func(m *machine) {
			x := m.random(n + 2)
			m.Fill(x.Slice(1, n+1), -2.5)
			m.exact("x", m.read(x))
		}}, testCase{"SquaredNorm", name, func(m *machine) {
			out := m.dirty(1)
			m.SquaredNorm(out, m.floats(m.normal(n, 10)))
			m.result("out", out)
		}}, testCase{"AdamW", name, func(m *machine) {
			p, g, mean, square := m.random(n), m.random(n), m.floats(m.normal(n, 0.1)), m.random(n)
			squares := m.read(square)
			for i, v := range squares {
				squares[i] = v * v
			}
			m.Upload(square, squares)
			for step := range 3 {
				m.AdamW(p, g, mean, square, ops.AdamWStep{
					GradScale: 0.5, Decay: 0.999, Beta1: 0.9, Beta2: 0.999,
					StepSize:  1e-2 / (1 - float32(math.Pow(0.9, float64(step+1)))),
					RootBias2: float32(math.Sqrt(1 - math.Pow(0.999, float64(step+1)))), Eps: 1e-8,
				})
			}
			m.result("p", p)
			m.result("m", mean)
			m.result("v", square)
		}})
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	all = append(all, testCase{"SwiGLU", "far out", func(m *machine) {
		gate := []float32{0, -1000, 1000, -90, 90, -88.5, 88.5, -104, 1e30, -1e30, float32(math.Copysign(0, -1)), 1e-30}
		up := make([]float32, len(gate))
		for i := range up {
			up[i] = 2
		}
		h := m.dirty(len(gate))
		m.SwiGLU(h, m.floats(gate), m.floats(up))
		m.result("h", h)
	}}, testCase{"SwiGLU", "law 2", func(m *machine) {
		const n = 20000
		gate, up := m.normal(n, 3), m.normal(n, 1)
		swiglu := func(lo, hi int) []float32 {
			h := m.dirty(hi - lo)
			m.SwiGLU(h, m.floats(gate[lo:hi]), m.floats(up[lo:hi]))
			return m.read(h)
		}
		whole := swiglu(0, n)
		for _, part := range [][2]int{{0, 1}, {n - 1, n}, {5, 12}, {3, 9999}} {
			m.same(fmt.Sprintf("elements %v alone", part), swiglu(part[0], part[1]), whole[part[0]:part[1]])
		}
	}}, testCase{"AdamW", "of a gradient that is 0", func(m *machine) {
		p := m.random(20)
		m.AdamW(p, m.zeros(20), m.zeros(20), m.zeros(20), ops.AdamWStep{GradScale: 1, Decay: 1, Beta1: 0.9, Beta2: 0.999, StepSize: 1e-2, RootBias2: 0.03, Eps: 1e-8})
		m.result("p", p)
	}})
	for _, bad := range []float32{nan, inf, -inf} {
		for _, n := range []int{1, 33, 70001} {
			all = append(all, testCase{"SquaredNorm", fmt.Sprintf("with %v among %d", bad, n), func(m *machine) {
				x := m.normal(n, 1)
				x[n*2/3] = bad
				out := m.zeros(1)
				m.SquaredNorm(out, m.floats(x))
				if got := m.read(out)[0]; got-got == 0 {
					m.fault("got %v, want a number that is not finite", got)
				}
			}})
		}
	}
	return all
}
