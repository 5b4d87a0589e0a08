package cpu

import (
	"math"

	"pipe/runtime/ops"
)

// lowRank is the LoRA path of a product. In the forward pass it is
//
//	y += (scale · drop(x)·Aᵀ) · Bᵀ
//
// and in the backward pass, the other way round,
//
//	dx += drop((scale · dy·B) · A)
//
// Both go to rank space and back. On the way there the panels of x that were
// just packed for the main product are multiplied once more. On the way back
// the rank values of a row are appended to its packed panel, as if x and W were
// so much wider, so that the result costs no further pass over y.
type lowRank struct {
	rank   int
	to     matrix  // k by rank
	back   matrix  // rank by n
	scale  float32 // of what goes back
	before dropout // of the input, row by row of the whole product
	after  dropout // of the result

	// save, (m, rank), receives the rank values times saveScale, unless nil.
	save      []float32
	saveScale float32

	packed []float32 // to, as panels
	sums   []float32 // rank values of a chunk's rows, padded to whole panels
	pad    int
}

// prepare packs to, for all rows at once.
func (l *lowRank) prepare(p *product) {
	l.pad = p.padded(l.rank)
	grow(&l.packed, p.k*l.pad)
	grow(&l.sums, min(p.m, chunkRows)*l.pad)
	p.pool.run((*packingLow)(p), (p.k+p.kc-1)/p.kc)
}

type packingLow product

func (p *packingLow) do(w *worker, task int) {
	l, k := p.low, task*p.kc
	rows := min(p.kc, p.k-k)
	for j := 0; j < l.rank; j += p.nr {
		columns := min(p.nr, l.rank-j)
		width, _ := p.kernels.panel(columns)
		p.pack(&l.to, w, l.packed[j*p.k+k*width:], width, k, rows, j, columns)
	}
}

// reduce multiplies a packed panel of A, rows from i on of the chunk, with to.
// When all of k is done it appends the scaled sums to the panel.
func (l *lowRank) reduce(p *product, w *worker, panel []float32, i, rows int) {
	left := panel
	if l.before.on {
		w.reset()
		dropped := w.take(rows * p.depth)
		for r := range rows {
			row := p.row + i + r
			l.before.apply(p.kernels, dropped[r*p.depth:][:p.depth], p.a[row*p.lda+p.from:], row, p.from)
		}
		left = w.take(rows*p.depth + slack)
		p.transpose(&left[0], rows, &dropped[0], p.depth, rows, p.depth)
	}
	for j := 0; j < l.rank; j += p.nr {
		width, tiles := p.kernels.panel(min(p.nr, l.rank-j))
		for k := 0; k < p.depth; k += p.kc {
			right := l.packed[j*p.k+(p.from+k)*width:]
			tiles[rows](min(p.kc, p.depth-k), &left[k*rows], &right[0], width, &l.sums[i*l.pad+j], l.pad, flag(p.from+k > 0))
		}
	}
	if p.from+p.depth < p.k {
		return
	}
	end := panel[p.depth*rows:]
	for r := range rows {
		sums := l.sums[(i+r)*l.pad:][:l.rank]
		for c, v := range sums {
			end[c*rows+r] = v * l.scale
		}
		if l.save != nil {
			for c, v := range sums {
				l.save[(p.row+i+r)*l.rank+c] = v * l.saveScale
			}
		}
	}
}

// addMasked adds what the way back has left in the worker's tile to C, with
// dropout. Row i and column j are those of the tile in the whole product.
func (l *lowRank) addMasked(k *kernels, w *worker, c []float32, ldc, width, i, rows, j, columns int) {
	for r := range rows {
		row := w.tile[r*width:][:columns]
		l.after.apply(k, row, row, i+r, j)
		k.add(c[r*ldc:][:columns], row)
	}
}

// dropout is ops.Dropout made ready for the kernels.
type dropout struct {
	on        bool
	seed      uint64
	firstRow  int
	threshold uint64
	keep      float32
}

func newDropout(d ops.Dropout) dropout {
	if d.P == 0 {
		return dropout{}
	}
	if !(d.P > 0 && d.P < 1) {
		panic("internal error: cpu: dropout probability outside [0, 1)")
	}
	// ops.Dropped compares the upper 24 bits of the hash, as a fraction, with P:
	// the same as comparing them, as a number, with the next whole P·2²⁴.
	return dropout{
		on: true, seed: d.Seed, firstRow: d.FirstRow,
		threshold: uint64(math.Ceil(float64(d.P)*(1<<24))) << 40,
		keep:      1 / (1 - d.P),
	}
}

// apply sets dst to drop(src), which is part of a row from column on. The two
// may be the same.
func (d *dropout) apply(k *kernels, dst, src []float32, row, column int) {
	counter := d.seed + gamma*(uint64(d.firstRow+row)<<32+uint64(column)+1)
	k.dropout(dst, src, counter, d.threshold, d.keep)
}
