package cpu

import "pipe/runtime/ops"

// matrix is the right-hand operand B, k by n, of a product, as it lies in
// memory. It is packed panel by panel while it is multiplied; NF4 weights are
// dequantised on the way, so that they never exist as float32 as a whole.
type matrix struct {
	values []float32 // dense, or nil
	ld     int       // values from one stored row to the next
	// transposed: stored row j is column j of B. So is the weight of a linear
	// layer in the forward pass; in the backward pass its rows are those of B.
	transposed bool

	codes  []uint8
	absmax []float32
	round  bool // to bfloat16
}

// weightMatrix is w as Wᵀ (transposed) or W, checked.
func weightMatrix(w ops.Weight, transposed bool) matrix {
	m := matrix{ld: w.In, transposed: transposed}
	if w.Dense != nil {
		m.values = floats(w.Dense, w.Out*w.In, "weight")
		return m
	}
	n := w.Out * w.In
	m.codes = bytes(w.Codes, (n+1)/2, "weight codes")
	m.absmax = floats(w.Absmax, (n+ops.BlockSize-1)/ops.BlockSize, "weight absmax")
	m.round = w.BFloat16
	return m
}

// pack writes rows [k, k+rows) of columns [j, j+columns) of m to dst, width
// values a row, the columns that are missing zero.
func (kr *kernels) pack(m *matrix, w *worker, dst []float32, width, k, rows, j, columns int) {
	if !m.transposed {
		kr.packRows(m, dst, width, k, rows, j, columns)
		return
	}
	for h := 0; h < width; h += kr.lanes {
		n := min(columns-h, kr.lanes)
		switch first := (j+h)*m.ld + k; {
		case n <= 0:
			kr.transpose(&dst[h], width, &dst[h], 0, 0, rows)
		case m.values != nil:
			kr.transpose(&dst[h], width, &m.values[first], m.ld, n, rows)
		case n == kr.lanes && m.ld%ops.BlockSize == 0 && kr.nf4Columns != nil:
			kr.nf4Columns(&dst[h], width, &m.codes[first/2], m.ld/2, &m.absmax[first/ops.BlockSize], m.ld/ops.BlockSize,
				rows/ops.BlockSize, &w.tables[0], &ops.NF4[0], flag(m.round))
		default:
			rowsOf := grow(&w.segment, n*rows)
			for r := range n {
				dequantize(rowsOf[r*rows:][:rows], m, first+r*m.ld)
			}
			kr.transpose(&dst[h], width, &rowsOf[0], rows, n, rows)
		}
	}
}

func (kr *kernels) packRows(m *matrix, dst []float32, width, k, rows, j, columns int) {
	first := k*m.ld + j
	if m.values == nil && columns == kr.nr && m.ld%ops.BlockSize == 0 && kr.nf4Rows != nil {
		kr.nf4Rows(&dst[0], rows, &m.codes[first/2], m.ld/2, &m.absmax[first/ops.BlockSize], m.ld/ops.BlockSize,
			&ops.NF4[0], flag(m.round))
		return
	}
	for i := range rows {
		row, at := dst[i*width:][:width], first+i*m.ld
		switch {
		case m.values == nil:
			dequantize(row[:columns], m, at)
		case columns == 32: // whole panels of the tiers; inline, which copy is not
			*(*[32]float32)(row) = [32]float32(m.values[at:])
		case columns == 16:
			*(*[16]float32)(row) = [16]float32(m.values[at:])
		case columns == 4:
			*(*[4]float32)(row) = [4]float32(m.values[at:])
		default:
			copy(row[:columns], m.values[at:])
		}
		clear(row[columns:])
	}
}

// dequantize writes the weights from number first on to dst. For long runs it
// scales the code book once for each block instead of every weight; the products
// are the same.
func dequantize(dst []float32, m *matrix, first int) {
	if len(dst) < len(ops.NF4) {
		for i := range dst {
			e := first + i
			code := m.codes[e/2]
			if e%2 == 0 {
				code >>= 4
			}
			dst[i] = ops.NF4[code&15] * m.absmax[e/ops.BlockSize]
			if m.round {
				dst[i] = ops.RoundBFloat16(dst[i])
			}
		}
		return
	}
	for len(dst) > 0 {
		n := min(ops.BlockSize-first%ops.BlockSize, len(dst))
		var book [16]float32
		for i, v := range ops.NF4 {
			book[i] = v * m.absmax[first/ops.BlockSize]
			if m.round {
				book[i] = ops.RoundBFloat16(book[i])
			}
		}
		run, e := dst[:n], first
		if e%2 != 0 {
			run[0] = book[m.codes[e/2]&15]
			run, e = run[1:], e+1
		}
		codes := m.codes[e/2:]
		for len(run) >= 2 {
			c := codes[0]
			run[0], run[1] = book[c>>4], book[c&15]
			run, codes = run[2:], codes[1:]
		}
		if len(run) == 1 {
			run[0] = book[codes[0]>>4]
		}
		dst, first = dst[n:], first+n
	}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
