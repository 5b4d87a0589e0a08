package cpu

import (
	"fmt"

	"pipe/runtime/ops"
)

// elementJob is work on the elements of a few buffers of one length, in runs of
// taskSize. The split does not depend on the number of workers, so that sums
// over the runs do not either.
type elementJob struct {
	*Backend
	apply         func(j *elementJob, lo, hi, task int)
	n             int
	a, b, c, d, e []float32
	f             float32
	step          [9]float32
	sums          []float64
}

func (j *elementJob) each(n int, f func(j *elementJob, lo, hi, task int)) {
	j.n, j.apply = n, f
	j.pool.run(j, runs(n))
	*j = elementJob{Backend: j.Backend, sums: j.sums}
}

func runs(n int) int { return (n + taskSize - 1) / taskSize }

func (j *elementJob) do(_ *worker, task int) {
	j.apply(j, task*taskSize, min(j.n, (task+1)*taskSize), task)
}

// SwiGLU computes h = silu(gate)·up.
func (b *Backend) SwiGLU(h, gate, up ops.Buf) {
	j, n := &b.elements, gate.Len()
	j.a, j.b, j.c = floats(h, n, "swiglu: h"), floats(gate, n, "swiglu: gate"), floats(up, n, "swiglu: up")
	j.each(n, func(j *elementJob, lo, hi, _ int) {
		j.swiglu(j.a[lo:hi], j.b[lo:hi], j.c[lo:hi])
	})
}

// SwiGLUBackward overwrites dgate and dup.
func (b *Backend) SwiGLUBackward(dgate, dup, dh, gate, up ops.Buf) {
	j, n := &b.elements, gate.Len()
	j.a, j.b = floats(dgate, n, "swiglu backward: dgate"), floats(dup, n, "swiglu backward: dup")
	j.c, j.d, j.e = floats(dh, n, "swiglu backward: dh"), floats(gate, n, "swiglu backward: gate"), floats(up, n, "swiglu backward: up")
	j.each(n, func(j *elementJob, lo, hi, _ int) {
		j.swigluGrad(j.a[lo:hi], j.b[lo:hi], j.c[lo:hi], j.d[lo:hi], j.e[lo:hi])
	})
}

// Add computes dst += src.
func (b *Backend) Add(dst, src ops.Buf) {
	j, n := &b.elements, src.Len()
	j.a, j.b = floats(dst, n, "add: dst"), floats(src, n, "add: src")
	j.each(n, func(j *elementJob, lo, hi, _ int) { j.add(j.a[lo:hi], j.b[lo:hi]) })
}

// Scale computes x *= f.
func (b *Backend) Scale(x ops.Buf, f float32) {
	j, n := &b.elements, x.Len()
	j.a, j.f = floats(x, n, "scale: x"), f
	j.each(n, func(j *elementJob, lo, hi, _ int) { j.scale(j.a[lo:hi], j.f) })
}

// Fill sets every element of x.
func (b *Backend) Fill(x ops.Buf, value float32) {
	j, n := &b.elements, x.Len()
	j.a, j.f = floats(x, n, "fill: x"), value
	j.each(n, func(j *elementJob, lo, hi, _ int) {
		for i := range j.a[lo:hi] {
			j.a[lo:hi][i] = j.f
		}
	})
}

// SquaredNorm sets out to the sum of the squares of x.
func (b *Backend) SquaredNorm(out, x ops.Buf) {
	j, n := &b.elements, x.Len()
	result := floats(out, 1, "squared norm: out")
	j.a = floats(x, n, "squared norm: x")
	if len(j.sums) < runs(n) {
		j.sums = make([]float64, runs(n))
	}
	sums := j.sums[:runs(n)]
	j.each(n, func(j *elementJob, lo, hi, task int) {
		j.sums[task] = float64(j.dot(j.a[lo:hi], j.a[lo:hi]))
	})
	var total float64
	for _, s := range sums {
		total += s
	}
	result[0] = float32(total)
}

// AdamW updates p, m and v from the gradient g.
func (b *Backend) AdamW(p, g, m, v ops.Buf, s ops.AdamWStep) {
	j, n := &b.elements, p.Len()
	j.a, j.b = floats(p, n, "adamw: p"), floats(g, n, "adamw: g")
	j.c, j.d = floats(m, n, "adamw: m"), floats(v, n, "adamw: v")
	j.step = [9]float32{s.GradScale, s.Decay, s.Beta1, 1 - s.Beta1, s.Beta2, 1 - s.Beta2, s.StepSize, s.RootBias2, s.Eps}
	j.each(n, func(j *elementJob, lo, hi, _ int) {
		j.adamw(j.a[lo:hi], j.b[lo:hi], j.c[lo:hi], j.d[lo:hi], &j.step)
	})
}

// copyJob copies rows from one matrix to another.
type copyJob struct {
	*Backend
	dst, src []float32
	index    []int32
	width    int
	rowsPer  int  // task
	scatter  bool // index says where to, not where from
}

func (j *copyJob) run(what string, dst, src ops.Buf, index []int32, width int, scatter bool) {
	j.dst, j.src = floats(dst, dst.Len(), what), floats(src, src.Len(), what)
	j.index, j.width, j.scatter = index, width, scatter
	indexed, plain := j.src, j.dst
	if scatter {
		indexed, plain = plain, indexed
	}
	if len(plain) < len(index)*width {
		panic(fmt.Sprintf("internal error: cpu: %s: %d values for %d rows of %d", what, len(plain), len(index), width))
	}
	for _, i := range index {
		if i < 0 || (int(i)+1)*width > len(indexed) {
			panic(fmt.Sprintf("internal error: cpu: %s: index %d of %d rows", what, i, len(indexed)/max(1, width)))
		}
	}
	j.rowsPer = max(1, taskSize/max(1, width))
	j.pool.run(j, (len(index)+j.rowsPer-1)/j.rowsPer)
	j.dst, j.src, j.index = nil, nil, nil
}

func (j *copyJob) do(_ *worker, task int) {
	for r := task * j.rowsPer; r < min(len(j.index), (task+1)*j.rowsPer); r++ {
		to, from := r, int(j.index[r])
		if j.scatter {
			to, from = from, to
		}
		copy(j.dst[to*j.width:][:j.width], j.src[from*j.width:])
	}
}

// Embed copies row ids[i] of table to row i of out.
func (b *Backend) Embed(out, table, ids ops.Buf, width int) {
	b.copies.run("embed", out, table, ints(ids, ids.Len(), "embed: ids"), width, false)
}

// GatherRows copies row index[i] of src to row i of dst.
func (b *Backend) GatherRows(dst, src, index ops.Buf, width int) {
	b.copies.run("gather", dst, src, ints(index, index.Len(), "gather: index"), width, false)
}

// ScatterRows copies row i of src to row index[i] of dst.
func (b *Backend) ScatterRows(dst, src, index ops.Buf, width int) {
	b.copies.run("scatter", dst, src, ints(index, index.Len(), "scatter: index"), width, true)
}
