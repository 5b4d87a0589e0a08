package cpu

// rankGrad computes the gradient of a LoRA matrix,
//
//	sum (rank, columns) += scale · leftᵀ · drop(right)
//
// for left (rows, rank) and right (rows, columns): a product that reduces over
// rows, with few rows and many columns. A task takes one panel of columns of
// right, in place, and keeps the whole column of tiles until it is complete.
type rankGrad struct {
	*kernels
	pool *pool

	rows, rank, columns int
	left, right         []float32
	drop                dropout
	scale               float32
	sum                 []float32
	transposed          bool // sum is (columns, rank)

	packed []float32 // left: panels of height columns of it, all rows
	height int
	du     []float32 // the gradient in rank space: the left of A
}

func (g *rankGrad) run() {
	if g.rows == 0 {
		return
	}
	// Panels of equal height: 8 and 8 are faster than 14 and 2.
	panels := (g.rank + g.mr - 1) / g.mr
	g.height = (g.rank + panels - 1) / panels
	grow(&g.packed, g.rows*g.rank)
	for r := 0; r < g.rank; r += g.height {
		height := min(g.height, g.rank-r)
		dst := g.packed[r*g.rows:]
		for i := range g.rows {
			copy(dst[i*height:][:height], g.left[i*g.rank+r:])
		}
	}
	g.pool.run(g, g.countPanels(g.columns))
	g.left, g.right, g.sum = nil, nil, nil
}

func (g *rankGrad) do(w *worker, task int) {
	j := task * g.nr
	columns := min(g.nr, g.columns-j)
	width, tiles := g.kernels.panel(columns)
	w.reset()
	total := w.take(g.rank * width)
	for k := 0; k < g.rows; k += g.kc {
		depth := min(g.kc, g.rows-k)
		right, ld := g.right[k*g.columns+j:], g.columns
		if g.drop.on {
			dropped := grow(&w.panel, depth*width)
			for i := range depth {
				g.drop.apply(g.kernels, dropped[i*width:][:columns], right[i*ld:], k+i, j)
			}
			right, ld = dropped, width
		}
		for r := 0; r < g.rank; r += g.height {
			height := min(g.height, g.rank-r)
			tiles[height](depth, &g.packed[r*g.rows+k*height], &right[0], ld, &total[r*width], width, flag(k > 0))
		}
	}
	if g.scale != 1 {
		g.kernels.scale(total, g.scale)
	}
	if !g.transposed {
		for r := range g.rank {
			g.add(g.sum[r*g.columns+j:][:columns], total[r*width:])
		}
		return
	}
	// Row c of the transposed sum is column c of total. Last lanes first: they
	// spill over the beginning of the next row.
	flipped := w.take(columns*g.rank + slack)
	for r := (g.rank - 1) / g.lanes * g.lanes; r >= 0; r -= g.lanes {
		g.transpose(&flipped[r], g.rank, &total[r*width], width, min(g.lanes, g.rank-r), columns)
	}
	g.add(g.sum[j*g.rank:][:columns*g.rank], flipped)
}
