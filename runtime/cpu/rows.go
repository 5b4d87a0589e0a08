package cpu

import (
	"math"

	"pipe/runtime/ops"
)

// taskSize is how many elements of a cheap operation make a task: some
// microseconds of work, and a quarter of an L2 cache.
const taskSize = 1 << 14

// rowJob is work on the rows of a few matrices of one width.
type rowJob struct {
	*Backend
	apply   func(j *rowJob, row int)
	rows    int
	rowsPer int // task

	width, heads int
	eps, sign    float32
	y, x, weight []float32
	dx, dy       []float32
	table        []float32
	positions    []int32
	index        []int32
}

// each runs f for every row.
func (j *rowJob) each(rows, width int, f func(j *rowJob, row int)) {
	j.rows, j.width, j.apply = rows, width, f
	j.rowsPer = max(1, taskSize/max(1, width))
	j.pool.run(j, (rows+j.rowsPer-1)/j.rowsPer)
	*j = rowJob{Backend: j.Backend}
}

func (j *rowJob) do(_ *worker, task int) {
	for r := task * j.rowsPer; r < min(j.rows, (task+1)*j.rowsPer); r++ {
		j.apply(j, r)
	}
}

// RMSNorm computes y = weight · x/√(mean(x²)+eps), row by row.
func (b *Backend) RMSNorm(y, x, weight ops.Buf, rows, width int, eps float32) {
	j := &b.rows
	j.y, j.x = floats(y, rows*width, "norm: y"), floats(x, rows*width, "norm: x")
	j.weight, j.eps = floats(weight, width, "norm: weight"), eps
	j.each(rows, width, normRow)
}

func normRow(j *rowJob, r int) {
	x := j.x[r*j.width:][:j.width]
	f, _ := j.inverseRMS(x)
	j.norm(j.y[r*j.width:][:j.width], x, j.weight, f)
}

// inverseRMS is 1/√(mean(x²)+eps), as float32 and before it was rounded.
func (j *rowJob) inverseRMS(x []float32) (float32, float64) {
	f := 1 / math.Sqrt(float64(j.dot(x, x))/float64(len(x))+float64(j.eps))
	return float32(f), f
}

// RMSNormBackward adds the gradient of x to dx.
func (b *Backend) RMSNormBackward(dx, dy, x, weight ops.Buf, rows, width int, eps float32) {
	j := &b.rows
	j.dx, j.dy = floats(dx, rows*width, "norm backward: dx"), floats(dy, rows*width, "norm backward: dy")
	j.x, j.weight = floats(x, rows*width, "norm backward: x"), floats(weight, width, "norm backward: weight")
	j.eps = eps
	j.each(rows, width, normGradRow)
}

// normGradRow: with f = 1/rms, dx += f·(dy·weight) - x · f³·Σ(dy·weight·x)/width.
func normGradRow(j *rowJob, r int) {
	at := r * j.width
	x, dy := j.x[at:][:j.width], j.dy[at:][:j.width]
	f, exact := j.inverseRMS(x)
	sum := float64(j.dot3(dy, j.weight, x))
	c := sum / float64(j.width) * exact * exact * exact
	j.normGrad(j.dx[at:][:j.width], dy, j.weight, x, f, float32(c))
}

// Rope rotates every head of x by its row's position.
func (b *Backend) Rope(x, table, positions ops.Buf, rows, heads, headDim int, inverse bool) {
	j := &b.rows
	j.x, j.positions = floats(x, rows*heads*headDim, "rope: x"), ints(positions, rows, "rope: positions")
	j.table, j.heads, j.sign = floats(table, table.Len(), "rope: table"), heads, 1
	for _, p := range j.positions {
		if p < 0 || (int(p)+1)*headDim > len(j.table) {
			panic("internal error: cpu: rope: position outside the table")
		}
	}
	if inverse {
		j.sign = -1
	}
	j.each(rows, heads*headDim, ropeRow)
}

func ropeRow(j *rowJob, r int) {
	dim := j.width / j.heads
	j.rope(j.x[r*j.width:][:j.width], j.table[int(j.positions[r])*dim:][:dim], j.sign)
}

// Argmax gives the column of the largest element of each row, the lowest among equals.
func (b *Backend) Argmax(out, x ops.Buf, rows, width int) {
	j := &b.rows
	j.index, j.x = ints(out, rows, "argmax: out"), floats(x, rows*width, "argmax: x")
	j.each(rows, width, argmaxRow)
}

func argmaxRow(j *rowJob, r int) {
	row := j.x[r*j.width:][:j.width]
	j.index[r] = int32(max(0, firstOf(row, j.max(row))))
}

// firstOf is the index of the first element of x that equals v, or -1.
func firstOf(x []float32, v float32) int {
	for i, e := range x {
		if e == v {
			return i
		}
	}
	return -1
}
