package ops

import "math"

func rootMeanSquare(x []float32, eps float32) float64 {
	return math.Sqrt(dot(x, x)/float64(len(x)) + float64(eps))
}

func (*Reference) RMSNorm(y, x, weight Buf, rows, width int, eps float32) {
	ys, xs, w := floats(y, rows*width), floats(x, rows*width), floats(weight, width)
	for r := range rows {
		row := xs[r*width:][:width]
		rms := rootMeanSquare(row, eps)
		for c, v := range row {
			ys[r*width+c] = w[c] * float32(float64(v)/rms)
		}
	}
}

func (*Reference) RMSNormBackward(dx, dy, x, weight Buf, rows, width int, eps float32) {
	dxs, dys := floats(dx, rows*width), floats(dy, rows*width)
	xs, w := floats(x, rows*width), floats(weight, width)
	for r := range rows {
		row := xs[r*width:][:width]
		rms := rootMeanSquare(row, eps)
		var sum float64 // Σ dy·weight·x
		for c, v := range row {
			sum += float64(dys[r*width+c]) * float64(w[c]) * float64(v)
		}
		for c, v := range row {
			g := float64(dys[r*width+c]) * float64(w[c])
			dxs[r*width+c] += float32(g/rms - float64(v)*sum/(float64(width)*rms*rms*rms))
		}
	}
}

func (*Reference) Rope(x, table, positions Buf, rows, heads, headDim int, inverse bool) {
	xs, t, pos := floats(x, rows*heads*headDim), table.(*memory).f, ints(positions, rows)
	half := headDim / 2
	for r := range rows {
		angles := t[int(pos[r])*headDim:][:headDim]
		for h := range heads {
			head := xs[(r*heads+h)*headDim:][:headDim]
			for i := range half {
				cos, sin := float64(angles[i]), float64(angles[half+i])
				if inverse {
					sin = -sin
				}
				a, b := float64(head[i]), float64(head[half+i])
				head[i] = float32(a*cos - b*sin)
				head[half+i] = float32(b*cos + a*sin)
			}
		}
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func (*Reference) SwiGLU(h, gate, up Buf) {
	n := gate.Len()
	hs, gs, us := floats(h, n), floats(gate, n), floats(up, n)
	for i, g := range gs {
		hs[i] = float32(float64(g) * sigmoid(float64(g)) * float64(us[i]))
	}
}

func (*Reference) SwiGLUBackward(dgate, dup, dh, gate, up Buf) {
	n := gate.Len()
	dgs, dus, dhs := floats(dgate, n), floats(dup, n), floats(dh, n)
	gs, us := floats(gate, n), floats(up, n)
	for i := range gs {
		g, u, d := float64(gs[i]), float64(us[i]), float64(dhs[i])
		s := sigmoid(g)
		dgs[i] = float32(d * u * s * (1 + g*(1-s)))
		dus[i] = float32(d * g * s)
	}
}

func (*Reference) CrossEntropy(dx, loss, entropy, correct, x, targets Buf, rows int, w Weight, scale float32) {
	xs, ts, ws := floats(x, rows*w.In), ints(targets, rows), weightRows(w)
	ls, es, cs := floats(loss, rows), floats(entropy, rows), floats(correct, rows)
	logits := make([]float64, w.Out)
	for r := range rows {
		best := 0
		for o := range logits {
			logits[o] = dot(xs[r*w.In:][:w.In], ws[o*w.In:][:w.In])
			if float32(logits[o]) > float32(logits[best]) {
				best = o
			}
		}
		target := int(ts[r])
		targetLogit := logits[target]
		logSum := softmax(logits)
		ls[r] = float32(logSum - targetLogit)
		var h float64
		for _, p := range logits {
			if p != 0 { // NaN must show
				h -= p * math.Log(p)
			}
		}
		es[r], cs[r] = float32(h), 0
		if best == target {
			cs[r] = 1
		}
		if dx == nil {
			continue
		}
		logits[target]--
		for c := range w.In {
			var sum float64
			for o, g := range logits {
				sum += g * float64(ws[o*w.In+c])
			}
			floats(dx, rows*w.In)[r*w.In+c] = float32(float64(scale) * sum)
		}
	}
}

func (*Reference) Argmax(out, x Buf, rows, width int) {
	os, xs := ints(out, rows), floats(x, rows*width)
	for r := range rows {
		best := 0
		row := xs[r*width:][:width]
		for c, v := range row {
			if v > row[best] {
				best = c
			}
		}
		os[r] = int32(best)
	}
}

func (*Reference) Add(dst, src Buf) {
	d := floats(dst, src.Len())
	for i, v := range floats(src, src.Len()) {
		d[i] += v
	}
}

func (*Reference) Scale(x Buf, f float32) {
	for i := range floats(x, x.Len()) {
		floats(x, x.Len())[i] *= f
	}
}

func (*Reference) Fill(x Buf, value float32) {
	xs := floats(x, x.Len())
	for i := range xs {
		xs[i] = value
	}
}

func (*Reference) GatherRows(dst, src, index Buf, width int) {
	for i, from := range ints(index, index.Len()) {
		copy(dst.(*memory).f[i*width:][:width], src.(*memory).f[int(from)*width:][:width])
	}
}

func (*Reference) ScatterRows(dst, src, index Buf, width int) {
	for i, to := range ints(index, index.Len()) {
		copy(dst.(*memory).f[int(to)*width:][:width], src.(*memory).f[i*width:][:width])
	}
}

func (*Reference) SquaredNorm(out, x Buf) {
	xs := floats(x, x.Len())
	floats(out, 1)[0] = float32(dot(xs, xs))
}

func (*Reference) AdamW(p, g, m, v Buf, s AdamWStep) {
	n := p.Len()
	ps, gs, ms, vs := floats(p, n), floats(g, n), floats(m, n), floats(v, n)
	for i := range ps {
		grad := s.GradScale * gs[i]
		ms[i] = float32(s.Beta1*ms[i]) + float32((1-s.Beta1)*grad)
		vs[i] = float32(s.Beta2*vs[i]) + float32(float32((1-s.Beta2)*grad)*grad)
		root := float32(math.Sqrt(float64(vs[i])))
		ps[i] = float32(s.Decay*ps[i]) - float32(s.StepSize*ms[i])/(root/s.RootBias2+s.Eps)
	}
}
