package opstest

import (
	"fmt"
	"math"

	"pipe/runtime/ops"
)

func lossCases() []testCase {
	var all []testCase
	vocabularies, rows := []int{5, 512, 2048, 2050}, []int{1, 3, 14, 33}
	for i, v := range vocabularies {
		for j, n := range rows {
			kind, in := weightKinds[(i+j)%3], []int{32, 64, 33}[(i+2*j)%3]
			grad := (i+j)%4 != 3
			name := fmt.Sprintf("%d rows, vocabulary %d, width %d, %s, gradient %v", n, v, in, kind, grad)
			all = append(all, testCase{"CrossEntropy", name, func(m *machine) {
				w, x := m.weight(kind, in, v), m.normal(n*in, 0.3)
				m.crossEntropy(x, m.targets(w, x, n), n, w, grad)
			}})
		}
	}
	return append(all, testCase{"CrossEntropy", "rows of little and of great certainty", func(m *machine) {
		const in, v = 16, 40
		w, x := m.weight("dense", in, v), m.normal(2*in, 1)
		for c := range in {
			x[c], x[in+c] = x[c]*1e-3, x[in+c]*8
		}
		m.crossEntropy(x, m.targets(w, x, 2), 2, w, true)
	}}, testCase{"CrossEntropy", "equal logits", func(m *machine) {
		// Every token has the same logit: only token 0 counts as correct.
		w := ops.Weight{Out: 33, In: 8, Dense: m.floats(make([]float32, 33*8))}
		m.crossEntropy(m.normal(3*8, 1), []int32{0, 1, 32}, 3, w, true)
	}}, testCase{"CrossEntropy", "law 2", func(m *machine) {
		const rows, in, v = 200, 64, 700
		w, x := m.weight("nf4", in, v), m.normal(rows*in, 0.3)
		targets := m.targets(w, x, rows)
		measure := func(lo, hi int, x []float32) []float32 {
			n := hi - lo
			dx, loss, entropy, correct := m.dirty(n*in), m.dirty(n), m.dirty(n), m.dirty(n)
			m.CrossEntropy(dx, loss, entropy, correct, m.floats(rowsOf(x, in, lo, hi)), m.ints(targets[lo:hi]), n, w, 0.25)
			return interleave(n, m.read(dx), m.read(loss), m.read(entropy), m.read(correct))
		}
		width := in + 3
		whole := measure(0, rows, x)
		for _, part := range [][2]int{{0, 1}, {199, 200}, {5, 30}} {
			m.same(fmt.Sprintf("rows %v alone", part), measure(part[0], part[1], x), rowsOf(whole, width, part[0], part[1]))
		}
		spoilt := measure(0, rows, poison(x, in, 40, 41))
		m.same("row 40 among rows that are not finite", rowsOf(spoilt, width, 40, 41), rowsOf(whole, width, 40, 41))
	}}, testCase{"CrossEntropy", "of rows that are not finite", func(m *machine) {
		const in, v = 20, 70
		w := m.weight("dense", in, v)
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			x := m.normal(in, 1)
			x[7] = float32(bad)
			dx, loss, entropy, correct := m.zeros(in), m.zeros(1), m.zeros(1), m.zeros(1)
			m.CrossEntropy(dx, loss, entropy, correct, m.floats(x), m.ints([]int32{3}), 1, w, 1)
			for name, b := range map[string]ops.Buf{"loss": loss, "entropy": entropy, "dx": dx} {
				if got := m.read(b)[0]; got-got == 0 {
					m.fault("%s of x with %v: got %v, want a number that is not finite", name, bad, got)
				}
			}
		}
	}})
}

func (m *machine) crossEntropy(x []float32, targets []int32, rows int, w ops.Weight, grad bool) {
	loss, entropy, correct := m.dirty(rows), m.dirty(rows), m.dirty(rows)
	var dx ops.Buf
	if grad {
		dx = m.dirty(rows * w.In)
	}
	m.CrossEntropy(dx, loss, entropy, correct, m.floats(x), m.ints(targets), rows, w, 0.25)
	m.result("loss", loss)
	m.result("entropy", entropy)
	m.exact("correct", m.read(correct))
	if grad {
		m.result("dx", dx)
	}
}

// targets gives each row of x the token with the highest logit, or where that
// wins by too little for any rounding, or every other row, the one with the lowest.
func (m *machine) targets(w ops.Weight, x []float32, rows int) []int32 {
	logits := make([]float32, rows*w.Out)
	{
		reference := ops.NewReference()
		y, _ := reference.Alloc(ops.Float32, len(logits))
		xs, _ := reference.Alloc(ops.Float32, len(x))
		reference.Upload(xs, x)
		reference.Linear(y, xs, rows, m.toReference(w), nil)
		reference.Download(logits, y)
	}
	targets := make([]int32, rows)
	for r := range targets {
		row := rowsOf(logits, w.Out, r, r+1)
		var best, second, worst int
		for i, v := range row {
			switch {
			case v > row[best]:
				best, second = i, best
			case i != best && (v > row[second] || second == best):
				second = i
			}
			if v < row[worst] {
				worst = i
			}
		}
		targets[r] = int32(best)
		if r%2 == 1 || row[best]-row[second] < 0.1*(row[best]-row[worst]) {
			targets[r] = int32(worst)
		}
	}
	return targets
}

// toReference copies a weight to the reference's memory.
func (m *machine) toReference(w ops.Weight) ops.Weight {
	if w.Dense != nil {
		w.Dense = copyFloats(m.read(w.Dense))
		return w
	}
	codes := make([]uint8, w.Codes.Len())
	m.Download(codes, w.Codes)
	reference := ops.NewReference()
	w.Codes, _ = reference.Alloc(ops.Uint8, len(codes))
	reference.Upload(w.Codes, codes)
	w.Absmax = copyFloats(m.read(w.Absmax))
	return w
}

func copyFloats(x []float32) ops.Buf {
	reference := ops.NewReference()
	b, _ := reference.Alloc(ops.Float32, len(x))
	reference.Upload(b, x)
	return b
}

// interleave joins the rows of some matrices of n rows.
func interleave(n int, matrices ...[]float32) []float32 {
	var all []float32
	for r := range n {
		for _, x := range matrices {
			width := len(x) / n
			all = append(all, rowsOf(x, width, r, r+1)...)
		}
	}
	return all
}
