package cpu

// product computes C (m, n) = A (m, k) · B (k, n), or adds it to C, in the way of
// BLIS (Van Zee & van de Geijn 2015):
//
//  1. The rows of A are packed, in panels of mr rows.
//  2. A task packs one panel of B, nr columns by kc rows at a time, and
//     multiplies it with a block of panels of A while it is in the cache.
//
// Sums over k are split at the multiples of kc, wherever they are computed and
// by whomever; nothing else about the order depends on the shape. A product of
// few rows (generation) takes the same way: the first step is then too small to
// share out, and the second is what streams the weights.
type product struct {
	*kernels
	pool *pool

	m, n, k    int
	a          []float32
	lda        int
	b          matrix
	c          []float32
	ldc        int
	accumulate bool
	low        *lowRank // the low-rank path, or nil

	// The chunk of A that is packed: rows [row, row+rows), columns [from, from+depth).
	row, rows, from, depth int

	packed    []float32
	panelSize int // from one packed panel to the next
	blocks    int // of rows, each with tasks of its own
}

// A chunk of A is packed at a time: enough rows to make the packing of B cheap,
// little enough memory to be forgotten about (12 MiB at most).
const (
	chunkRows  = 1512 // a multiple of every mr
	chunkSteps = 4    // multiples of kc
	blockRows  = 56   // at least: each block of rows packs all of B
)

// multiply does the product that is described in p.
func (p *product) multiply() {
	if p.low != nil {
		p.low.prepare(p)
	}
	chunks := (p.m + chunkRows - 1) / chunkRows
	for p.row = 0; p.row < p.m; p.row += p.rows {
		p.rows = min(p.m-p.row, (p.m/chunks+p.mr)/p.mr*p.mr)
		for p.from = 0; p.from < p.k; p.from += p.depth {
			p.depth = min(p.k-p.from, chunkSteps*p.kc)
			p.chunk()
		}
	}
	if p.low != nil {
		p.low.to, p.low.back, p.low.save = matrix{}, matrix{}, nil
	}
	p.a, p.b, p.c, p.low = nil, matrix{}, nil, nil // what is freed must not be held
}

func (p *product) chunk() {
	extra := 0
	if p.low != nil {
		extra = p.low.rank
	}
	panels := (p.rows + p.mr - 1) / p.mr
	p.panelSize = p.mr*(p.depth+extra) + slack // transpose writes past the end of a panel
	grow(&p.packed, panels*p.panelSize)
	p.pool.run((*packing)(p), (panels+p.packedAtOnce()-1)/p.packedAtOnce())

	// A block of rows for each worker: those that it has just packed. Few rows are
	// one block, whose columns are shared out.
	p.blocks = max(1, min(p.rows/blockRows, len(p.pool.workers)))
	p.pool.run((*tiling)(p), p.blocks*p.countPanels(p.n))
}

// packing packs a few panels of A a task.
type packing product

func (p *packing) do(w *worker, task int) {
	first := task * (*product)(p).packedAtOnce()
	for q := first; q < first+(*product)(p).packedAtOnce() && q*p.mr < p.rows; q++ {
		i := q * p.mr
		rows := min(p.mr, p.rows-i)
		dst, src := p.packed[q*p.panelSize:], (p.row+i)*p.lda+p.from
		p.transpose(&dst[0], rows, &p.a[src], p.lda, rows, p.depth)
		if p.low != nil {
			p.low.reduce((*product)(p), w, dst, i, rows)
		}
	}
}

// packedAtOnce is how many panels of A a task packs: some 14 rows.
func (p *product) packedAtOnce() int { return max(1, 14/p.mr) }

// tiling multiplies one panel of B with a block of panels of A a task.
type tiling product

func (p *tiling) do(w *worker, task int) {
	block, j := task/p.countPanels(p.n), task%p.countPanels(p.n)*p.nr
	columns := min(p.nr, p.n-j)
	width, tiles := p.kernels.panel(columns)
	panels := (p.rows + p.mr - 1) / p.mr
	first, last := panels*block/p.blocks, panels*(block+1)/p.blocks

	for k := 0; k < p.depth; k += p.kc {
		depth := min(p.kc, p.depth-k)
		add := p.accumulate || p.from+k > 0
		extra, masked := 0, false
		if p.low != nil && p.from+k+depth == p.k {
			extra, masked = p.low.rank, p.low.after.on
		}
		right := grow(&w.panel, (depth+extra)*width)
		p.pack(&p.b, w, right, width, p.from+k, depth, j, columns)
		if extra > 0 {
			p.pack(&p.low.back, w, right[depth*width:], width, 0, extra, j, columns)
		}
		for q := first; q < last; q++ {
			rows := min(p.mr, p.rows-q*p.mr)
			left := p.packed[q*p.panelSize+k*rows:]
			i := p.row + q*p.mr
			c := p.c[i*p.ldc+j:]
			length := depth + extra
			if masked {
				length = depth
			}
			if columns == width {
				tiles[rows](length, &left[0], &right[0], width, &c[0], p.ldc, flag(add))
			} else {
				tiles[rows](length, &left[0], &right[0], width, &w.tile[0], width, 0)
				copyTile(c, p.ldc, w.tile, width, rows, columns, add)
			}
			if masked {
				tiles[rows](extra, &left[depth*rows], &right[depth*width], width, &w.tile[0], width, 0)
				p.low.addMasked(p.kernels, w, c, p.ldc, width, i, rows, j, columns)
			}
		}
	}
}

// copyTile stores the part of a tile that lies inside the matrix.
func copyTile(c []float32, ldc int, tile []float32, width, rows, columns int, add bool) {
	for r := range rows {
		dst, src := c[r*ldc:][:columns], tile[r*width:][:columns]
		if !add {
			copy(dst, src)
			continue
		}
		for i, v := range src {
			dst[i] += v
		}
	}
}
