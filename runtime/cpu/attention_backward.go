package cpu

import (
	"math"

	"pipe/runtime/ops"
)

// attentionGradJob is a backward pass. A task is a key/value head of a sample,
// with all query heads that read it, so that the gradients of keys and values
// have one owner. It recomputes the probabilities from the scores and stats, a
// block of queries at a time, and holds for that block two strips of scores, the
// probabilities and their gradients, in panels of nr positions.
type attentionGradJob struct {
	*Backend
	dq, dk, dv, dout, out, stats, q, k, v []float32
	shape                                 ops.AttentionShape
}

// AttentionBackward overwrites dq, dk and dv.
func (b *Backend) AttentionBackward(dq, dk, dv, dout, out, stats, q, k, v ops.Buf, s ops.AttentionShape) {
	rows := checkShape(s)
	n, kvn := rows*s.Heads*s.HeadDim, rows*s.KVHeads*s.HeadDim
	j := &b.backward
	j.dq, j.dk, j.dv = floats(dq, n, "attention backward: dq"), floats(dk, kvn, "attention backward: dk"), floats(dv, kvn, "attention backward: dv")
	j.dout, j.out = floats(dout, n, "attention backward: dout"), floats(out, n, "attention backward: out")
	j.stats = floats(stats, rows*s.Heads, "attention backward: stats")
	j.q, j.k, j.v = floats(q, n, "attention backward: q"), floats(k, kvn, "attention backward: k"), floats(v, kvn, "attention backward: v")
	j.shape = s
	b.pool.run(j, (len(s.Starts)-1)*s.KVHeads)
	*j = attentionGradJob{Backend: b}
}

func (j *attentionGradJob) do(w *worker, task int) {
	s := j.shape
	sample, kv := task/s.KVHeads, task%s.KVHeads
	start := int(s.Starts[sample])
	length := int(s.Starts[sample+1]) - start
	if length == 0 {
		return
	}
	dim, kvWidth := s.HeadDim, s.KVHeads*s.HeadDim
	at := start*kvWidth + kv*dim
	w.reset()
	b := newGradBlock(j, w, length)
	j.packHead(w, b.keys, j.k[at:], kvWidth, length, dim)
	j.packHead(w, b.values, j.v[at:], kvWidth, length, dim)
	j.packValues(w, b.keyRows, j.k[at:], kvWidth, length, dim)

	group := s.Heads / s.KVHeads
	for h := kv * group; h < (kv+1)*group; h++ {
		for b.from = 0; b.from < length; b.from += b.height {
			b.rows = min(b.height, length-b.from)
			b.load(start, h)
			for p := visibleFrom(b.from, s.Window) / j.nr; p*j.nr < b.from+b.rows; p++ {
				b.panelGrad(p)
			}
			b.queryGrad(j.dq[(start+b.from)*s.Heads*dim+h*dim:])
		}
	}
	b.store(j.dk[at:], b.dk, kvWidth)
	b.store(j.dv[at:], b.dv, kvWidth)
}

// gradBlock is the state of a task: what it has packed of the sample, and the
// block of queries in hand.
type gradBlock struct {
	*attentionGradJob
	w           *worker
	dim, length int
	scale       float32

	keys, values []float32 // panels of positions (dim, nr)
	keyRows      []float32 // panels of columns (length, width)
	dk, dv       []float32 // sums, laid out like keys

	height            int       // of a full block
	from, rows        int       // queries of this block, from the beginning of the sample
	q, dout           []float32 // panels of mr queries (dim, mr), q scaled by 1/√dim
	qSplit, doutSplit []float32 // panels of split columns (rows, split), not scaled
	split             int
	stats, deltas     []float32
	p, ds             []float32 // strips: panel by panel of positions (height, nr)
	left              []float32 // a tile's gradients of scores, transposed
	origin            int       // panel at the beginning of the strips
}

func newGradBlock(j *attentionGradJob, w *worker, length int) *gradBlock {
	b := &w.gradBlock
	*b = gradBlock{attentionGradJob: j, w: w, dim: j.shape.HeadDim, length: length}
	b.scale = float32(1 / math.Sqrt(float64(b.dim)))
	panels := j.countPanels(length)
	// Some 50 queries: enough to make the traffic of the sums of dk and dv small.
	b.height = j.mr * ((48 + j.mr - 1) / j.mr)
	columns := (b.dim + j.mr - 1) / j.mr
	b.split = (b.dim + columns - 1) / columns

	n := panels * j.nr * b.dim
	b.keys, b.values, b.keyRows = w.take(n), w.take(n), w.take(length*j.padded(b.dim))
	b.dk, b.dv = w.take(n), w.take(n)
	clear(b.dk)
	clear(b.dv)
	b.q, b.dout = w.take(b.height*b.dim+slack), w.take(b.height*b.dim+slack)
	b.qSplit, b.doutSplit = w.take(b.height*b.dim), w.take(b.height*b.dim)
	b.stats, b.deltas = w.take(b.height), w.take(b.height)
	// A window bounds what a block sees.
	if window := j.shape.Window; window > 0 {
		panels = min(panels, (window+b.height)/j.nr+2)
	}
	b.p, b.ds = w.take(panels*b.height*j.nr), w.take(panels*b.height*j.nr)
	b.left = w.take(panels*j.nr*j.mr + slack)
	return b
}

// load packs the block's queries of head h and the gradients of its output.
func (b *gradBlock) load(start, h int) {
	s := b.shape
	ld := s.Heads * b.dim
	at := (start+b.from)*ld + h*b.dim
	q, dout, out := b.attentionGradJob.q[at:], b.attentionGradJob.dout[at:], b.out[at:]
	for r := 0; r < b.rows; r += b.mr {
		rows := min(b.mr, b.rows-r)
		b.transpose(&b.q[r*b.dim], rows, &q[r*ld], ld, rows, b.dim)
		b.transpose(&b.dout[r*b.dim], rows, &dout[r*ld], ld, rows, b.dim)
	}
	b.kernels.scale(b.q[:b.rows*b.dim], b.scale)
	for d := 0; d < b.dim; d += b.split {
		n := min(b.split, b.dim-d)
		for r := range b.rows {
			copy(b.qSplit[d*b.rows+r*n:][:n], q[r*ld+d:])
			copy(b.doutSplit[d*b.rows+r*n:][:n], dout[r*ld+d:])
		}
	}
	for r := range b.rows {
		b.stats[r] = b.attentionGradJob.stats[(start+b.from+r)*s.Heads+h]
		b.deltas[r] = b.dot(dout[r*ld:][:b.dim], out[r*ld:])
	}
	b.origin = visibleFrom(b.from, s.Window) / b.nr
}

// strip returns where the rows from r on of panel p begin in the strips.
func (b *gradBlock) strip(p, r int) int { return ((p-b.origin)*b.height + r) * b.nr }

// panelGrad computes the probabilities and the gradients of the scores of the
// block for panel p of positions, and adds to that panel's dk and dv.
func (b *gradBlock) panelGrad(p int) {
	position, window := p*b.nr, b.shape.Window
	// Only some tiles of queries see the panel.
	lo, hi := max(0, position-b.from)/b.mr*b.mr, b.rows
	if window > 0 {
		hi = min(hi, (position+b.nr-1+window-b.from+b.mr-1)/b.mr*b.mr)
	}
	if lo >= hi {
		return
	}
	keys, values := &b.keys[position*b.dim], &b.values[position*b.dim]
	for r := lo; r < hi; r += b.mr {
		rows, at := min(b.mr, b.rows-r), b.strip(p, r)
		b.full[rows](b.dim, &b.q[r*b.dim], keys, b.nr, &b.p[at], b.nr, 0)
		b.full[rows](b.dim, &b.dout[r*b.dim], values, b.nr, &b.ds[at], b.nr, 0)
	}
	for r := lo; r < hi; r++ {
		scores := b.p[b.strip(p, r):][:b.nr]
		hide(scores, 0, b.nr, 0, min(b.nr, visibleFrom(b.from+r, window)-position))
		hide(scores, 0, b.nr, b.from+r+1-position, b.nr)
	}
	first := b.strip(p, lo)
	b.attentionGrad(&b.p[first], &b.ds[first], hi-lo, &b.stats[lo], &b.deltas[lo], b.scale)
	for d := 0; d < b.dim; d += b.split {
		n, sum := min(b.split, b.dim-d), (position*b.dim + d*b.nr)
		b.full[n](hi-lo, &b.doutSplit[d*b.rows+lo*n], &b.p[first], b.nr, &b.dv[sum], b.nr, 1)
		b.full[n](hi-lo, &b.qSplit[d*b.rows+lo*n], &b.ds[first], b.nr, &b.dk[sum], b.nr, 1)
	}
}

// queryGrad computes the block's dq from the gradients of its scores.
func (b *gradBlock) queryGrad(dq []float32) {
	ld := b.shape.Heads * b.dim
	for r := 0; r < b.rows; r += b.mr {
		rows := min(b.mr, b.rows-r)
		first, last := visibleFrom(b.from+r, b.shape.Window)/b.nr, (b.from+r+rows-1)/b.nr
		for p := first; p <= last; p++ {
			b.transpose(&b.left[(p-first)*b.nr*rows], rows, &b.ds[b.strip(p, r)], b.nr, rows, b.nr)
		}
		depth := b.from + r + rows - first*b.nr
		for d := 0; d < b.dim; d += b.nr {
			columns := min(b.nr, b.dim-d)
			width, tiles := b.panel(columns)
			right := &b.keyRows[d*b.length+first*b.nr*width]
			if columns == width {
				tiles[rows](depth, &b.left[0], right, width, &dq[r*ld+d], ld, 0)
			} else {
				tiles[rows](depth, &b.left[0], right, width, &b.w.tile[0], width, 0)
				copyTile(dq[r*ld+d:], ld, b.w.tile, width, rows, columns, false)
			}
		}
	}
}

// store writes the sums of a head, laid out like keys, to the rows of dst.
func (b *gradBlock) store(dst, sums []float32, ld int) {
	stride := (b.dim + b.lanes - 1) / b.lanes * b.lanes
	rows := b.w.take(b.nr*stride + slack)
	for p := 0; p < b.length; p += b.nr {
		n := min(b.nr, b.length-p)
		for d := 0; d < b.dim; d += b.lanes {
			b.transpose(&rows[d], stride, &sums[p*b.dim+d*b.nr], b.nr, min(b.lanes, b.dim-d), n)
		}
		for r := range n {
			copy(dst[(p+r)*ld:][:b.dim], rows[r*stride:])
		}
	}
}
