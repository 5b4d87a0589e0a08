package opstest

import (
	"fmt"

	"pipe/runtime/ops"
)

// Rows around the heights of tiles (4, 6, 14, 16) and beyond a chunk of them.
var rowCounts = []int{1, 2, 3, 13, 14, 15, 31, 32, 33, 64, 200}

// Shapes (In, Out) around the widths of tiles and of NF4 blocks, with odd ones,
// and with sums longer than any block of k.
var linearShapes = [][2]int{
	{64, 64}, {100, 33}, {33, 100}, {128, 96}, {256, 130}, {65, 7}, {1, 1}, {1088, 20}, {48, 272}, {192, 1},
}

// weightKinds are the ways in which a weight may be stored.
var weightKinds = []string{"dense", "nf4", "nf4 as bfloat16"}

func (m *machine) weight(kind string, in, out int) ops.Weight {
	w := ops.Weight{Out: out, In: in}
	if kind == "dense" {
		w.Dense = m.random(in * out)
		return w
	}
	codes := make([]uint8, (in*out+1)/2)
	for i := range codes {
		codes[i] = uint8(m.rand.Uint32())
	}
	absmax := make([]float32, (in*out+ops.BlockSize-1)/ops.BlockSize)
	for i := range absmax {
		absmax[i] = 0.5 + m.rand.Float32()
	}
	w.Codes, w.Absmax, w.BFloat16 = m.bytes(codes), m.floats(absmax), kind == "nf4 as bfloat16"
	return w
}

func (m *machine) lora(rows, in, out, rank int, dropout float32) *ops.LoRA {
	if rank == 0 {
		return nil
	}
	return &ops.LoRA{
		Rank: rank, Scale: 0.75,
		A: m.floats(m.normal(rank*in, 0.3)), B: m.floats(m.normal(out*rank, 0.3)),
		U:     m.dirty(rows*rank + 5),
		GradA: m.random(rank * in), GradB: m.random(out * rank),
		Dropout: ops.Dropout{P: dropout, Seed: m.rand.Uint64(), FirstRow: int(m.rand.Uint32() >> 8)},
	}
}

// eachLinear calls f for combinations of shapes, weights and low-rank paths, in
// which every row count meets every shape.
func eachLinear(f func(name string, rows, in, out int, kind string, rank int, dropout float32)) {
	ranks, dropouts := []int{0, 16, 4, 24, 1}, []float32{0, 0.1, 0, 0.5}
	for i, rows := range rowCounts {
		for j, shape := range linearShapes {
			kind, rank := weightKinds[(i+j)%3], ranks[(2*i+j)%5]
			dropout := dropouts[(i+2*j)%4]
			if rank == 0 {
				dropout = 0
			}
			name := fmt.Sprintf("%d rows, %d to %d, %s, rank %d, dropout %v", rows, shape[0], shape[1], kind, rank, dropout)
			f(name, rows, shape[0], shape[1], kind, rank, dropout)
		}
	}
}

func linearCases() []testCase {
	var all []testCase
	eachLinear(func(name string, rows, in, out int, kind string, rank int, dropout float32) {
		all = append(all, testCase{"Linear", name, func(m *machine) {
			w, l := m.weight(kind, in, out), m.lora(rows, in, out, rank, dropout)
			x, y := m.random(rows*in), m.dirty(rows*out)
			m.Linear(y, x, rows, w, l)
			m.result("y", y)
			if l != nil {
				m.result("U", l.U.Slice(0, rows*rank))
			}
		}})
	})
	for _, kind := range weightKinds {
		for _, shape := range [][2]int{{256, 96}, {100, 77}, {1088, 40}} {
			in, out := shape[0], shape[1]
			all = append(all, testCase{"Linear", fmt.Sprintf("law 2, %s, %d to %d", kind, in, out), func(m *machine) {
				const rows, rank = 200, 16
				w, l := m.weight(kind, in, out), m.lora(rows, in, out, rank, 0.1)
				x := m.normal(rows*in, 1)
				forward := func(lo, hi int, x []float32) []float32 {
					y, part := m.dirty((hi-lo)*out), *l
					part.Dropout.FirstRow += lo
					part.U = l.U.Slice(0, (hi-lo)*rank)
					m.Linear(y, m.floats(x), hi-lo, w, &part)
					return m.read(y)
				}
				whole := forward(0, rows, x)
				for _, part := range [][2]int{{0, 1}, {199, 200}, {77, 78}, {3, 17}, {0, 14}, {10, 150}} {
					lo, hi := part[0], part[1]
					m.same(fmt.Sprintf("rows %d to %d alone", lo, hi), forward(lo, hi, rowsOf(x, in, lo, hi)), rowsOf(whole, out, lo, hi))
				}
				spoilt := forward(0, rows, poison(x, in, 20, 24))
				m.same("rows 20 to 24 among rows that are not finite", rowsOf(spoilt, out, 20, 24), rowsOf(whole, out, 20, 24))
			}})
		}
	}
	return all
}

func linearBackwardCases() []testCase {
	var all []testCase
	eachLinear(func(name string, rows, in, out int, kind string, rank int, dropout float32) {
		accumulate := (rows+in)%2 == 0
		if accumulate {
			name += ", accumulating"
		}
		all = append(all, testCase{"LinearBackward", name, func(m *machine) {
			w, l := m.weight(kind, in, out), m.lora(rows, in, out, rank, dropout)
			x, dy := m.random(rows*in), m.random(rows*out)
			dx := m.dirty(rows * in)
			if accumulate {
				dx = m.random(rows * in)
			}
			m.backward(l, rows, func() { m.LinearBackward(dx, dy, x, rows, w, l, accumulate) })
			m.result("dx", dx)
		}})
	})
	all = append(all, testCase{"LinearBackward", "without dx", func(m *machine) {
		const rows, in, out = 40, 96, 65
		l := m.lora(rows, in, out, 16, 0.1)
		dy, x := m.random(rows*out), m.random(rows*in)
		w := m.weight("nf4", in, out)
		m.backward(l, rows, func() { m.LinearBackward(nil, dy, x, rows, w, l, false) })
	}}, testCase{"LinearBackward", "without dx and low-rank path", func(m *machine) {
		m.LinearBackward(nil, m.random(3*8), m.random(3*16), 3, m.weight("dense", 16, 8), nil, false)
	}})
	for _, kind := range weightKinds {
		all = append(all, testCase{"LinearBackward", "law 2, " + kind, func(m *machine) {
			const rows, in, out, rank = 200, 128, 600, 16
			w, l := m.weight(kind, in, out), m.lora(rows, in, out, rank, 0.1)
			m.Upload(l.U, make([]float32, l.U.Len()))
			x, dy := m.normal(rows*in, 1), m.normal(rows*out, 1)
			backward := func(lo, hi int, dy []float32) []float32 {
				dx, part := m.dirty((hi-lo)*in), *l
				part.Dropout.FirstRow += lo
				part.U = l.U.Slice(0, (hi-lo)*rank)
				m.LinearBackward(dx, m.floats(dy), m.floats(rowsOf(x, in, lo, hi)), hi-lo, w, &part, false)
				return m.read(dx)
			}
			whole := backward(0, rows, dy)
			for _, part := range [][2]int{{0, 1}, {199, 200}, {3, 17}, {10, 150}} {
				lo, hi := part[0], part[1]
				m.same(fmt.Sprintf("rows %d to %d alone", lo, hi), backward(lo, hi, rowsOf(dy, out, lo, hi)), rowsOf(whole, in, lo, hi))
			}
			spoilt := backward(0, rows, poison(dy, out, 20, 24))
			m.same("rows 20 to 24 among rows that are not finite", rowsOf(spoilt, in, 20, 24), rowsOf(whole, in, 20, 24))
		}})
	}
	return all
}

// backward fills U as Linear would, runs f and records the gradients.
func (m *machine) backward(l *ops.LoRA, rows int, f func()) {
	if l != nil {
		m.Upload(l.U, m.normal(l.U.Len(), 1))
	}
	f()
	if l != nil {
		m.result("GradA", l.GradA)
		m.result("GradB", l.GradB)
	}
}
