package ops

func dot(a, b []float32) float64 {
	var sum float64
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// dropped returns drop(x) for the rows of x (rows, in).
func (d Dropout) dropped(x []float32, rows, in int) []float32 {
	if d.P == 0 {
		return x
	}
	keep := 1 / (1 - d.P)
	out := make([]float32, rows*in)
	for r := range rows {
		for c := range in {
			if !Dropped(d.Seed, d.FirstRow+r, c, d.P) {
				out[r*in+c] = x[r*in+c] * keep
			}
		}
	}
	return out
}

func (*Reference) Embed(out, table, ids Buf, width int) {
	index := ids.(*memory).i
	o, t := floats(out, len(index)*width), table.(*memory).f
	for r, id := range index {
		copy(o[r*width:][:width], t[int(id)*width:][:width])
	}
}

func (*Reference) Linear(y, x Buf, rows int, w Weight, l *LoRA) {
	in, out := w.In, w.Out
	ys, xs, ws := floats(y, rows*out), floats(x, rows*in), weightRows(w)
	for r := range rows {
		for o := range out {
			ys[r*out+o] = float32(dot(xs[r*in:][:in], ws[o*in:][:in]))
		}
	}
	if l == nil {
		return
	}
	xd := l.Dropout.dropped(xs, rows, in)
	a, b, u := floats(l.A, l.Rank*in), floats(l.B, out*l.Rank), floats(l.U, rows*l.Rank)
	for r := range rows {
		for k := range l.Rank {
			u[r*l.Rank+k] = float32(dot(xd[r*in:][:in], a[k*in:][:in]))
		}
		for o := range out {
			ys[r*out+o] += l.Scale * float32(dot(u[r*l.Rank:][:l.Rank], b[o*l.Rank:][:l.Rank]))
		}
	}
}

func (*Reference) LinearBackward(dx, dy, x Buf, rows int, w Weight, l *LoRA, accumulate bool) {
	in, out := w.In, w.Out
	dys := floats(dy, rows*out)
	grad := make([]float64, rows*in) // of x
	if dx != nil {
		ws := weightRows(w)
		for r := range rows {
			for o := range out {
				for c := range in {
					grad[r*in+c] += float64(dys[r*out+o]) * float64(ws[o*in+c])
				}
			}
		}
	}
	if l != nil {
		l.backward(grad, dys, floats(x, rows*in), rows, in, out)
	}
	if dx == nil {
		return
	}
	dxs := floats(dx, rows*in)
	for i, g := range grad {
		if accumulate {
			g += float64(dxs[i])
		}
		dxs[i] = float32(g)
	}
}

// backward adds the low-rank path's gradients to grad (of x), GradA and GradB.
func (l *LoRA) backward(grad []float64, dy, x []float32, rows, in, out int) {
	rank, scale := l.Rank, float64(l.Scale)
	a, b, u := floats(l.A, rank*in), floats(l.B, out*rank), floats(l.U, rows*rank)
	gradA, gradB := floats(l.GradA, rank*in), floats(l.GradB, out*rank)
	xd := l.Dropout.dropped(x, rows, in)

	du := make([]float64, rows*rank) // Scale · dy·B
	for r := range rows {
		for k := range rank {
			var sum float64
			for o := range out {
				sum += float64(dy[r*out+o]) * float64(b[o*rank+k])
			}
			du[r*rank+k] = scale * sum
		}
	}
	for o := range out {
		for k := range rank {
			var sum float64
			for r := range rows {
				sum += float64(dy[r*out+o]) * float64(u[r*rank+k])
			}
			gradB[o*rank+k] += float32(scale * sum)
		}
	}
	for k := range rank {
		for c := range in {
			var sum float64
			for r := range rows {
				sum += du[r*rank+k] * float64(xd[r*in+c])
			}
			gradA[k*in+c] += float32(sum)
		}
	}
	keep := 1.0
	if l.Dropout.P != 0 {
		keep = float64(1 / (1 - l.Dropout.P))
	}
	for r := range rows {
		for c := range in {
			if l.Dropout.P != 0 && Dropped(l.Dropout.Seed, l.Dropout.FirstRow+r, c, l.Dropout.P) {
				continue
			}
			var sum float64
			for k := range rank {
				sum += du[r*rank+k] * float64(a[k*in+c])
			}
			grad[r*in+c] += keep * sum
		}
	}
}
