package cpu

import "pipe/runtime/ops"

// Linear computes y = x·Wᵀ, plus the low-rank path.
func (b *Backend) Linear(y, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA) {
	p := &b.product
	p.m, p.n, p.k = rows, w.Out, w.In
	p.a, p.lda = floats(x, rows*w.In, "linear: x"), w.In
	p.b = weightMatrix(w, true)
	p.c, p.ldc, p.accumulate = floats(y, rows*w.Out, "linear: y"), w.Out, false
	if l != nil {
		low := &b.low
		low.rank, low.scale = l.Rank, l.Scale
		low.to = matrix{values: floats(l.A, l.Rank*w.In, "LoRA A"), ld: w.In, transposed: true}
		low.back = matrix{values: floats(l.B, w.Out*l.Rank, "LoRA B"), ld: l.Rank, transposed: true}
		low.before, low.after = newDropout(l.Dropout), dropout{}
		low.save, low.saveScale = floats(l.U, rows*l.Rank, "LoRA U"), 1
		p.low = low
	}
	p.multiply()
}

// LinearBackward computes dx = dy·W plus the low-rank path's part, and adds to
// the gradients of A and B.
func (b *Backend) LinearBackward(dx, dy, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA, accumulate bool) {
	dys := floats(dy, rows*w.Out, "linear backward: dy")
	p := &b.product
	p.m, p.n, p.k = rows, w.In, w.Out
	p.a, p.lda = dys, w.Out
	var du []float32
	if l != nil {
		low := &b.low
		low.rank, low.scale = l.Rank, l.Scale
		low.to = matrix{values: floats(l.B, w.Out*l.Rank, "LoRA B"), ld: l.Rank}
		low.back = matrix{values: floats(l.A, l.Rank*w.In, "LoRA A"), ld: w.In}
		low.before, low.after = dropout{}, newDropout(l.Dropout)
		du = grow(&b.grad.du, rows*l.Rank)
		low.save, low.saveScale = du, l.Scale
		p.low = low
	}
	if dx != nil {
		p.b = weightMatrix(w, false)
		p.c, p.ldc, p.accumulate = floats(dx, rows*w.In, "linear backward: dx"), w.In, accumulate
		p.multiply()
	} else if l != nil {
		p.n = 0 // to rank space only
		p.multiply()
	}
	if l == nil {
		return
	}
	g := &b.grad
	g.rows, g.rank = rows, l.Rank

	// GradA += (scale · dy·B)ᵀ · drop(x)
	g.left, g.right, g.columns = du, floats(x, rows*w.In, "linear backward: x"), w.In
	g.drop, g.scale = newDropout(l.Dropout), 1
	g.sum, g.transposed = floats(l.GradA, l.Rank*w.In, "LoRA gradient of A"), false
	g.run()

	// GradB += scale · dyᵀ·U
	g.left, g.right, g.columns = floats(l.U, rows*l.Rank, "LoRA U"), dys, w.Out
	g.drop, g.scale = dropout{}, l.Scale
	g.sum, g.transposed = floats(l.GradB, w.Out*l.Rank, "LoRA gradient of B"), true
	g.run()
}
