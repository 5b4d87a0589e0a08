package opstest

import "pipe/runtime/ops"

// cases lists every case, in the order of the methods of ops.Backend.
func cases() []testCase {
	var all []testCase
	for _, group := range [][]testCase{
		memoryCases(), linearCases(), linearBackwardCases(), rowCases(),
		attentionCases(), attentionBackwardCases(), cacheCases(), elementCases(), lossCases(), emptyCases(),
	} {
		all = append(all, group...)
	}
	return all
}

// emptyCases are batches without rows, which every operation takes and nothing
// comes of.
func emptyCases() []testCase {
	return []testCase{
		{"Linear", "no rows", func(m *machine) {
			m.Linear(m.zeros(0), m.zeros(0), 0, m.weight("nf4", 64, 40), m.lora(0, 64, 40, 16, 0))
		}},
		{"LinearBackward", "no rows", func(m *machine) {
			l := m.lora(0, 64, 40, 16, 0)
			m.LinearBackward(m.zeros(0), m.zeros(0), m.zeros(0), 0, m.weight("nf4", 64, 40), l, false)
			m.exact("GradA", m.read(l.GradA))
			m.exact("GradB", m.read(l.GradB))
		}},
		{"RMSNorm", "no rows", func(m *machine) { m.RMSNorm(m.zeros(0), m.zeros(0), m.random(8), 0, 8, 1e-5) }},
		{"Rope", "no rows", func(m *machine) { m.Rope(m.zeros(0), m.random(32), m.ints(nil), 0, 2, 16, false) }},
		{"Attention", "no rows", func(m *machine) {
			for _, starts := range [][]int32{{0}, {0, 0}} {
				s := ops.AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 16, Starts: starts}
				empty := m.zeros(0)
				m.Attention(empty, empty, empty, empty, empty, s)
				m.AttentionBackward(empty, empty, empty, empty, empty, empty, empty, empty, empty, s)
			}
		}},
		{"CrossEntropy", "no rows", func(m *machine) { m.crossEntropy(nil, nil, 0, m.weight("dense", 8, 16), true) }},
		{"GatherRows", "no rows", func(m *machine) { m.GatherRows(m.zeros(0), m.random(32), m.ints(nil), 8) }},
		{"Argmax", "no rows", func(m *machine) { m.Argmax(m.ints(nil), m.zeros(0), 0, 8) }},
		{"SquaredNorm", "of nothing", func(m *machine) {
			out := m.dirty(1)
			m.SquaredNorm(out, m.zeros(0))
			m.result("out", out)
		}},
	}
}
