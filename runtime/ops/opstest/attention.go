package opstest

import (
	"fmt"
	"slices"

	"pipe/runtime/ops"
)

var (
	headDims = []int{16, 24, 32, 48, 64, 128}
	groups   = []int{1, 2, 4}
	windows  = []int{0, 1, 5, 33, 1000}
	samples  = [][]int32{{0, 1}, {0, 5, 6, 20}, {0, 33, 34, 34, 66, 98}, {0, 64}, {0, 150}, {0, 1, 2, 3}, {0, 14, 29, 45}}
)

func eachAttention(f func(name string, s ops.AttentionShape)) {
	i := 0
	for _, dim := range headDims {
		for _, starts := range samples {
			group, window := groups[i%3], windows[i%5]
			kvHeads := 1 + i%2
			i++
			name := fmt.Sprintf("samples %v, %d heads to %d, of %d, window %d", starts, group*kvHeads, kvHeads, dim, window)
			f(name, ops.AttentionShape{Heads: group * kvHeads, KVHeads: kvHeads, HeadDim: dim, Window: window, Starts: starts})
		}
	}
}

// qkv returns random queries, keys and values, the scores of which are about as
// far apart as those of a trained model.
func (m *machine) qkv(s ops.AttentionShape) (q, k, v []float32) {
	rows := int(s.Starts[len(s.Starts)-1])
	return m.normal(rows*s.Heads*s.HeadDim, 1.5), m.normal(rows*s.KVHeads*s.HeadDim, 1), m.normal(rows*s.KVHeads*s.HeadDim, 1)
}

// attend runs Attention and returns out and stats.
func (m *machine) attend(q, k, v []float32, s ops.AttentionShape) (out, stats []float32) {
	rows := int(s.Starts[len(s.Starts)-1])
	o, st := m.dirty(len(q)), m.dirty(rows*s.Heads)
	m.Attention(o, st, m.floats(q), m.floats(k), m.floats(v), s)
	return m.read(o), m.read(st)
}

func attentionCases() []testCase {
	var all []testCase
	eachAttention(func(name string, s ops.AttentionShape) {
		all = append(all, testCase{"Attention", name, func(m *machine) {
			q, k, v := m.qkv(s)
			out, stats := m.dirty(len(q)), m.dirty(int(s.Starts[len(s.Starts)-1])*s.Heads)
			m.Attention(out, stats, m.floats(q), m.floats(k), m.floats(v), s)
			m.result("out", out)
			m.result("stats", stats)
		}})
	})
	all = append(all, testCase{"Attention", "without stats", func(m *machine) {
		s := ops.AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 64, Starts: []int32{0, 40, 50}}
		q, k, v := m.qkv(s)
		out := m.dirty(len(q))
		m.Attention(out, nil, m.floats(q), m.floats(k), m.floats(v), s)
		m.result("out", out)
	}}, testCase{"Attention", "with scores far apart", func(m *machine) {
		s := ops.AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 32, Starts: []int32{0, 40}}
		q, k, v := m.qkv(s)
		for i := range q {
			q[i] *= 50
		}
		out := m.dirty(len(q))
		m.Attention(out, nil, m.floats(q), m.floats(k), m.floats(v), s)
		m.result("out", out)
	}})
	for _, window := range []int{0, 20} {
		all = append(all, testCase{"Attention", fmt.Sprintf("law 2, window %d", window), func(m *machine) {
			s := ops.AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 48, Window: window, Starts: []int32{0, 30, 150, 151, 200}}
			q, k, v := m.qkv(s)
			width, kvWidth := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
			out, stats := m.attend(q, k, v, s)
			part := func(what string, lo, hi int) {
				p := s
				p.Starts = []int32{0, int32(hi - lo)}
				o, st := m.attend(rowsOf(q, width, lo, hi), rowsOf(k, kvWidth, lo, hi), rowsOf(v, kvWidth, lo, hi), p)
				m.same(what, o, rowsOf(out, width, lo, hi))
				m.same("stats of "+what, st, rowsOf(stats, s.Heads, lo, hi))
			}
			part("a sample alone", 30, 150)
			part("a sample of length 1 alone", 150, 151)
			for _, n := range []int{1, 2, 13, 14, 33, 100} {
				part(fmt.Sprintf("the first %d rows of a sample", n), 30, 30+n)
			}
			spoiltQ, spoiltK, spoiltV := poison(q, width, 30, 150), poison(k, kvWidth, 30, 150), poison(v, kvWidth, 30, 150)
			o, _ := m.attend(spoiltQ, spoiltK, spoiltV, s)
			m.same("a sample among samples that are not finite", rowsOf(o, width, 30, 150), rowsOf(out, width, 30, 150))
		}})
	}
	return all
}

func attentionBackwardCases() []testCase {
	var all []testCase
	eachAttention(func(name string, s ops.AttentionShape) {
		all = append(all, testCase{"AttentionBackward", name, func(m *machine) {
			q, k, v := m.qkv(s)
			dq, dk, dv := m.attendBackward(q, k, v, m.normal(len(q), 1), s)
			m.results = append(m.results, result{name: "dq", values: dq}, result{name: "dk", values: dk}, result{name: "dv", values: dv})
		}})
	})
	return append(all, testCase{"AttentionBackward", "law 2", func(m *machine) {
		s := ops.AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 24, Starts: []int32{0, 30, 150, 151, 200}}
		q, k, v := m.qkv(s)
		dout := m.normal(len(q), 1)
		width, kvWidth := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
		dq, dk, dv := m.attendBackward(q, k, v, dout, s)
		compare := func(what string, lo, hi int, onlyQ bool) {
			p := s
			p.Starts = []int32{0, int32(hi - lo)}
			q, k, v := rowsOf(q, width, lo, hi), rowsOf(k, kvWidth, lo, hi), rowsOf(v, kvWidth, lo, hi)
			partQ, partK, partV := m.attendBackward(q, k, v, rowsOf(dout, width, lo, hi), p)
			m.same("dq of "+what, partQ, rowsOf(dq, width, lo, hi))
			if !onlyQ { // later rows of a sample do add to dk and dv
				m.same("dk of "+what, partK, rowsOf(dk, kvWidth, lo, hi))
				m.same("dv of "+what, partV, rowsOf(dv, kvWidth, lo, hi))
			}
		}
		compare("a sample alone", 30, 150, false)
		compare("the last sample alone", 151, 200, false)
		compare("the first 50 rows of a sample", 30, 80, true)
	}})
}

func (m *machine) attendBackward(q, k, v, dout []float32, s ops.AttentionShape) (dq, dk, dv []float32) {
	rows := int(s.Starts[len(s.Starts)-1])
	qs, ks, vs, douts := m.floats(q), m.floats(k), m.floats(v), m.floats(dout)
	out, stats := m.dirty(len(q)), m.dirty(rows*s.Heads)
	m.Attention(out, stats, qs, ks, vs, s)
	a, b, c := m.dirty(len(q)), m.dirty(len(k)), m.dirty(len(v))
	m.AttentionBackward(a, b, c, douts, out, stats, qs, ks, vs, s)
	return m.read(a), m.read(b), m.read(c)
}

func cacheCases() []testCase {
	var all []testCase
	all = append(all, testCase{"AllocCache", "has room", func(m *machine) {
		c, err := m.AllocCache(3, 50, 2, 24)
		if err != nil {
			m.fault("%v", err)
			return
		}
		if c.Slots != 3 || c.Capacity < 50 || c.KVHeads != 2 || c.HeadDim != 24 {
			m.fault("got %+v", c)
		}
		m.FreeCache(c)
	}}, testCase{"FreeCache", "leaves other buffers alone", func(m *machine) {
		a, _ := m.AllocCache(1, 8, 1, 16)
		b := m.random(50)
		m.FreeCache(a)
		m.exact("b", m.read(b))
	}}, testCase{"CacheWrite", "over what was there before", func(m *machine) {
		// A slot that held a longer sequence, which must not show.
		s := ops.AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 32, Starts: []int32{0, 40}}
		c, _ := m.AllocCache(2, 40, 1, 32)
		_, k, v := m.qkv(s)
		m.writeCache(c, poison(k, 32, 0, 0), poison(v, 32, 0, 0), 1, 0, 40)
		m.writeCache(c, k, v, 1, 0, 9)
		m.result("out", m.attendCached(c, m.normal(2*32, 1), []int32{1}, []int32{9}, 2, 0))
		m.FreeCache(c)
	}})
	for i, dim := range headDims {
		for j, window := range []int{0, 7, 40} {
			group, kvHeads := groups[(i+j)%3], 1+(i+j)%2
			name := fmt.Sprintf("%d heads to %d, of %d, window %d", group*kvHeads, kvHeads, dim, window)
			all = append(all, testCase{"AttentionCached", name, func(m *machine) { m.cachedEqualsAttention(group*kvHeads, kvHeads, dim, window) }})
		}
	}
	return all
}

// writeCache stores rows [lo, hi) of a sequence.
func (m *machine) writeCache(c ops.Cache, k, v []float32, slot int32, lo, hi int) {
	width := c.KVHeads * c.HeadDim
	slots, positions := make([]int32, hi-lo), make([]int32, hi-lo)
	for i := range slots {
		slots[i], positions[i] = slot, int32(lo+i)
	}
	m.CacheWrite(c, m.floats(rowsOf(k, width, lo, hi)), m.floats(rowsOf(v, width, lo, hi)), slots, positions)
}

func (m *machine) attendCached(c ops.Cache, q []float32, slots, lengths []int32, heads, window int) ops.Buf {
	out := m.dirty(len(q))
	m.AttentionCached(out, m.floats(q), c, slots, lengths, heads, window)
	return out
}

// cachedEqualsAttention writes some sequences to slots, a few rows at a time and
// out of order, and compares the rows of AttentionCached with those of Attention.
func (m *machine) cachedEqualsAttention(heads, kvHeads, dim, window int) {
	s := ops.AttentionShape{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Window: window, Starts: []int32{0, 70, 71, 110}}
	q, k, v := m.qkv(s)
	width, kvWidth := heads*dim, kvHeads*dim
	want, _ := m.attend(q, k, v, s)
	c, err := m.AllocCache(4, 70, kvHeads, dim)
	if err != nil {
		m.fault("%v", err)
		return
	}
	defer m.FreeCache(c)
	slots := []int32{2, 0, 3}
	for i, slot := range slots {
		lo, hi := int(s.Starts[i]), int(s.Starts[i+1])
		ks, vs := rowsOf(k, kvWidth, lo, hi), rowsOf(v, kvWidth, lo, hi)
		m.writeCache(c, ks, vs, slot, 0, (hi-lo)/2)
		for p := (hi - lo) / 2; p < hi-lo; p++ {
			m.writeCache(c, ks, vs, slot, p, p+1)
		}
	}
	// Queries of any sequences, each at its own length, in one call.
	var rows, in, lengths []int32
	for _, row := range []int32{69, 0, 70, 109, 33, 100, 32, 31, 13, 14, 71, 72, 69} {
		sample := slices.IndexFunc(s.Starts, func(start int32) bool { return start > row }) - 1
		rows, in, lengths = append(rows, row), append(in, slots[sample]), append(lengths, row-s.Starts[sample]+1)
	}
	var queries, expected []float32
	for _, r := range rows {
		queries = append(queries, rowsOf(q, width, int(r), int(r)+1)...)
		expected = append(expected, rowsOf(want, width, int(r), int(r)+1)...)
	}
	out := m.attendCached(c, queries, in, lengths, heads, window)
	m.result("out", out)
	m.same("cached rows", m.read(out), expected)
	alone := m.attendCached(c, queries[:width], in[:1], lengths[:1], heads, window)
	m.same("one cached row alone", m.read(alone), expected[:width])
}
