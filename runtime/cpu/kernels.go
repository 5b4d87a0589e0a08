package cpu

// kernels are the inner loops of a tier. Functions that take slices take their
// length from the first one; the others are at least as long.
type kernels struct {
	tier string

	// The matrix kernels. A tile multiplies a packed panel of A (k, rows) with a
	// panel of B (k, width) whose rows are ldb apart, and stores the product in C,
	// or with add != 0 adds it. Its element is one chain over k in ascending order,
	// so that the shape of the tile does not show in the bits.
	mr, nr, narrow int    // rows, columns, columns of the narrow tile (nr if there is none)
	kc             int    // a chain's longest k: longer sums are split at its multiples
	full, half     []tile // by rows (1 to mr): nr and narrow columns wide

	// transpose packs rows: dst[i*stride+r] = src[r*ld+i], r < rows, i < k. It
	// writes lanes values for each i, those from rows on zero.
	lanes     int
	transpose func(dst *float32, stride int, src *float32, ld, rows, k int)

	// nf4Columns unpacks lanes rows of codes, transposed: 64·blocks values of
	// each. nf4Rows unpacks n rows of nr values. Both are nil where packing is
	// left to Go.
	nf4Columns func(dst *float32, stride int, codes *uint8, rowBytes int, absmax *float32, rowBlocks, blocks int, tables, book *float32, round int)
	nf4Rows    func(dst *float32, n int, codes *uint8, rowBytes int, absmax *float32, rowBlocks int, book *float32, round int)

	exp        func(dst, src []float32)
	add        func(dst, src []float32)
	scale      func(x []float32, f float32)
	dot        func(a, b []float32) float32
	dot3       func(a, b, c []float32) float32                 // Σ a·b·c
	max        func(x []float32) float32                       // of a slice that is not empty
	norm       func(y, x, weight []float32, f float32)         // y = weight·(f·x)
	normGrad   func(dx, dy, weight, x []float32, f, c float32) // dx += f·dy·weight - c·x
	rope       func(x, angles []float32, sign float32)         // every head of a row; sign of the sines
	swiglu     func(h, gate, up []float32)
	swigluGrad func(dgate, dup, dh, gate, up []float32)
	adamw      func(p, g, m, v []float32, step *[9]float32)
	// expSum replaces x by e = exp(x - max); it returns Σe and Σe·(x - max).
	expSum func(x []float32, max float32) (sum, weighted float32)
	// dropout sets dst to keep·src, or to 0 where the hash of the element's
	// counter is under the threshold. The counters are gamma apart.
	dropout func(dst, src []float32, counter, threshold uint64, keep float32)

	// softmax replaces the nr scores in each of panels runs, stride apart, by
	// exp(score - max) and returns max and the sum: one row of attention.
	softmax func(scores *float32, stride, panels int) (max, sum float32)
	// attentionGrad turns rows of nr scores into probabilities p = exp(score -
	// stat), and dp into scale·p·(dp - delta).
	attentionGrad func(scores, dp *float32, rows int, stats, deltas *float32, scale float32)
}

type tile func(k int, a, b *float32, ldb int, c *float32, ldc, add int)

// panel says how wide the panel is that holds the next columns of a matrix, and
// which tiles (by rows) go with it.
func (k *kernels) panel(columns int) (width int, tiles []tile) {
	if columns <= k.narrow {
		return k.narrow, k.half
	}
	return k.nr, k.full
}

// padded is columns rounded up to whole panels.
func (k *kernels) padded(columns int) int {
	rest := columns % k.nr
	if rest == 0 {
		return columns
	}
	width, _ := k.panel(rest)
	return columns - rest + width
}

// countPanels is the number of panels that columns fall into.
func (k *kernels) countPanels(columns int) int { return (columns + k.nr - 1) / k.nr }
