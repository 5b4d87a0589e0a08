package cpu

import (
	"math"

	"pipe/runtime/ops"
)

// queryBlock is how many queries a task of Attention takes. Each task packs the
// keys and values that its queries see, which so many queries pay for.
const queryBlock = 256

// attentionJob is a forward pass over packed samples. A task is a key/value head
// of a run of queries of one sample, with all query heads that read it.
type attentionJob struct {
	*Backend
	out, stats, q, k, v []float32
	shape               ops.AttentionShape
	tasks               []attentionTask
}

type attentionTask struct {
	start, from, to int // rows: of the sample, and of the queries
	kv              int // head
}

// Attention computes out = softmax(q·kᵀ/√D)·v, and the logarithms of the
// softmax's denominators.
func (b *Backend) Attention(out, stats, q, k, v ops.Buf, s ops.AttentionShape) {
	rows := checkShape(s)
	j := &b.attention
	j.out, j.q = floats(out, rows*s.Heads*s.HeadDim, "attention: out"), floats(q, rows*s.Heads*s.HeadDim, "attention: q")
	j.k, j.v = floats(k, rows*s.KVHeads*s.HeadDim, "attention: k"), floats(v, rows*s.KVHeads*s.HeadDim, "attention: v")
	if stats != nil {
		j.stats = floats(stats, rows*s.Heads, "attention: stats")
	}
	j.shape, j.tasks = s, j.tasks[:0]
	for i, end := range s.Starts[1:] {
		start := int(s.Starts[i])
		for kv := range s.KVHeads { // outside, because later blocks take longer
			for from := start; from < int(end); from += queryBlock {
				j.tasks = append(j.tasks, attentionTask{start: start, from: from, to: min(from+queryBlock, int(end)), kv: kv})
			}
		}
	}
	b.pool.run(j, len(j.tasks))
	*j = attentionJob{Backend: b, tasks: j.tasks}
}

// checkShape returns the number of rows of s.
func checkShape(s ops.AttentionShape) int {
	if len(s.Starts) == 0 || s.Starts[0] != 0 || s.KVHeads <= 0 || s.Heads%s.KVHeads != 0 || s.HeadDim <= 0 {
		panic("internal error: cpu: attention: not a shape")
	}
	for i, end := range s.Starts[1:] {
		if end < s.Starts[i] {
			panic("internal error: cpu: attention: starts descend")
		}
	}
	return int(s.Starts[len(s.Starts)-1])
}

func (j *attentionJob) do(w *worker, task int) {
	t, s := j.tasks[task], j.shape
	dim, kvWidth := s.HeadDim, s.KVHeads*s.HeadDim
	w.reset()
	// Positions count from the beginning of the sample.
	first := visibleFrom(t.from-t.start, s.Window) / j.nr * j.nr
	positions := t.to - t.start - first
	at := (t.start+first)*kvWidth + t.kv*dim

	keys := w.take(j.countPanels(positions) * j.nr * dim)
	j.packHead(w, keys, j.k[at:], kvWidth, positions, dim)
	values := w.take(positions * j.padded(dim))
	j.packValues(w, values, j.v[at:], kvWidth, positions, dim)

	// The queries of a tile see different numbers of positions, and what a query
	// does not see has the weight 0; but 0 times infinity is not 0. Where a value
	// is not finite, each query goes alone, so that it reads no value of a later
	// position.
	height := j.mr
	if norm := j.dot(values, values); norm-norm != 0 {
		height = 1
	}
	group := s.Heads / s.KVHeads
	a := attend{
		kernels: j.kernels, dim: dim, window: s.Window, scale: float32(1 / math.Sqrt(float64(dim))),
		keys: keys, values: values, first: first, capacity: positions,
		ldq: s.Heads * dim, step: 1, ldstats: s.Heads,
	}
	for h := t.kv * group; h < (t.kv+1)*group; h++ {
		for i := t.from; i < t.to; i += height {
			a.rows, a.position = min(height, t.to-i), i-t.start
			a.q, a.out = j.q[i*a.ldq+h*dim:], j.out[i*a.ldq+h*dim:]
			if j.stats != nil {
				a.stats = j.stats[i*s.Heads+h:]
			}
			mark := w.used
			a.tile(w)
			w.used = mark
		}
	}
}

// visibleFrom is the first position that the query at a position sees.
func visibleFrom(position, window int) int {
	if window > 0 && position-window+1 > 0 {
		return position - window + 1
	}
	return 0
}

// packHead packs the rows of one head as panels of nr positions, each (dim, nr).
func (k *kernels) packHead(w *worker, dst, src []float32, ld, positions, dim int) {
	m := matrix{values: src, ld: ld, transposed: true}
	for p := 0; p < positions; p += k.nr {
		k.pack(&m, w, dst[p*dim:], k.nr, 0, dim, p, min(k.nr, positions-p))
	}
}

// packValues packs the rows of one head as panels of columns, each (positions,
// width of the panel).
func (k *kernels) packValues(w *worker, dst, src []float32, ld, positions, dim int) {
	m := matrix{values: src, ld: ld}
	for d := 0; d < dim; d += k.nr {
		columns := min(k.nr, dim-d)
		width, _ := k.panel(columns)
		k.pack(&m, w, dst[d*positions:], width, 0, positions, d, columns)
	}
}

// attend computes a tile of up to mr queries against packed keys and values. It
// is the one place where the forward pass of attention is computed, for whole
// samples and for cached ones. A query's result does not depend on the others of
// its tile: its scores are chains over dim; they are summed by lanes that follow
// from the position; its values are a chain over the positions that it sees, to
// which the others add zeros.
type attend struct {
	*kernels
	dim, window int
	scale       float32

	keys     []float32 // panels of nr positions
	values   []float32 // panels of columns, capacity positions each
	capacity int
	first    int // position of the first packed key and value, a multiple of nr

	rows, position, step int // of queries; the position of the first, and from one to the next
	q, out               []float32
	ldq                  int // also of out
	stats                []float32
	ldstats              int
}

func (a *attend) tile(w *worker) {
	last := a.position + (a.rows-1)*a.step
	from := visibleFrom(a.position, a.window)
	panel, panels := (from-a.first)/a.nr, (last-a.first)/a.nr+1
	origin := a.first + panel*a.nr // position of column 0 of the scores
	panels -= panel

	q := w.take(a.dim*a.rows + slack)
	a.transpose(&q[0], a.rows, &a.q[0], a.ldq, a.rows, a.dim)
	a.kernels.scale(q[:a.dim*a.rows], a.scale)
	run := a.rows * a.nr // the scores of a panel, a row behind the other
	scores := w.take(panels * run)
	for p := range panels {
		a.full[a.rows](a.dim, &q[0], &a.keys[(panel+p)*a.nr*a.dim], a.nr, &scores[p*run], a.nr, 0)
	}

	inverse := w.take(a.rows)
	for r := range a.rows {
		position := a.position + r*a.step
		hide(scores[r*a.nr:], run, a.nr, 0, visibleFrom(position, a.window)-origin)
		hide(scores[r*a.nr:], run, a.nr, position+1-origin, panels*a.nr)
		highest, sum := a.softmax(&scores[r*a.nr], run, panels)
		inverse[r] = 1 / sum
		if a.stats != nil {
			a.stats[r*a.ldstats] = float32(float64(highest) + log(sum))
		}
	}

	weights := w.take(panels*run + slack)
	for p := range panels {
		a.transpose(&weights[p*run], a.rows, &scores[p*run], a.nr, a.rows, a.nr)
	}
	for d := 0; d < a.dim; d += a.nr {
		columns := min(a.nr, a.dim-d)
		width, tiles := a.panel(columns)
		left, right := &weights[(from-origin)*a.rows], &a.values[d*a.capacity+(from-a.first)*width]
		if columns == width {
			tiles[a.rows](last+1-from, left, right, width, &a.out[d], a.ldq, 0)
		} else {
			tiles[a.rows](last+1-from, left, right, width, &w.tile[0], width, 0)
			copyTile(a.out[d:], a.ldq, w.tile, width, a.rows, columns, false)
		}
	}
	for r := range a.rows {
		a.kernels.scale(a.out[r*a.ldq:][:a.dim], inverse[r])
	}
}

// hide sets columns [lo, hi) of a row of scores, in panels of nr that are run
// apart, to minus infinity.
func hide(scores []float32, run, nr, lo, hi int) {
	for c := max(lo, 0); c < hi; c++ {
		scores[c/nr*run+c%nr] = negativeInfinity
	}
}

var negativeInfinity = float32(math.Inf(-1))
