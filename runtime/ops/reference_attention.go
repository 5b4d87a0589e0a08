package ops

import "math"

// first is the first row that the query in row i of a sample starting at start
// may see.
func first(i, start, window int) int {
	if window > 0 && i-window+1 > start {
		return i - window + 1
	}
	return start
}

// softmax turns scores into probabilities, in place, and returns the logarithm
// of the denominator.
func softmax(scores []float64) float64 {
	highest := math.Inf(-1)
	for _, s := range scores {
		highest = max(highest, s)
	}
	var sum float64
	for i, s := range scores {
		scores[i] = math.Exp(s - highest)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
	return highest + math.Log(sum)
}

func (*Reference) Attention(out, stats, q, k, v Buf, s AttentionShape) {
	rows := int(s.Starts[len(s.Starts)-1])
	width, kvWidth := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	os, qs := floats(out, rows*width), floats(q, rows*width)
	ks, vs := floats(k, rows*kvWidth), floats(v, rows*kvWidth)
	scale := 1 / math.Sqrt(float64(s.HeadDim))
	for sample := range len(s.Starts) - 1 {
		start, end := int(s.Starts[sample]), int(s.Starts[sample+1])
		for i := start; i < end; i++ {
			for h := range s.Heads {
				from, kv := first(i, start, s.Window), h/(s.Heads/s.KVHeads)*s.HeadDim
				query := qs[i*width+h*s.HeadDim:][:s.HeadDim]
				p := make([]float64, i+1-from)
				for j := range p {
					p[j] = scale * dot(query, ks[(from+j)*kvWidth+kv:][:s.HeadDim])
				}
				logSum := softmax(p)
				if stats != nil {
					floats(stats, rows*s.Heads)[i*s.Heads+h] = float32(logSum)
				}
				for d := range s.HeadDim {
					var sum float64
					for j, pj := range p {
						sum += pj * float64(vs[(from+j)*kvWidth+kv+d])
					}
					os[i*width+h*s.HeadDim+d] = float32(sum)
				}
			}
		}
	}
}

func (*Reference) AttentionBackward(dq, dk, dv, dout, out, stats, q, k, v Buf, s AttentionShape) {
	rows := int(s.Starts[len(s.Starts)-1])
	width, kvWidth, dim := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim, s.HeadDim
	dos, os, qs := floats(dout, rows*width), floats(out, rows*width), floats(q, rows*width)
	ks, vs := floats(k, rows*kvWidth), floats(v, rows*kvWidth)
	logSums := floats(stats, rows*s.Heads)
	gq, gk, gv := make([]float64, rows*width), make([]float64, rows*kvWidth), make([]float64, rows*kvWidth)
	scale := 1 / math.Sqrt(float64(dim))
	for sample := range len(s.Starts) - 1 {
		start, end := int(s.Starts[sample]), int(s.Starts[sample+1])
		for i := start; i < end; i++ {
			for h := range s.Heads {
				at, kv := i*width+h*dim, h/(s.Heads/s.KVHeads)*dim
				mean := dot(dos[at:][:dim], os[at:][:dim]) // Σ_j p_j · dp_j
				for j := first(i, start, s.Window); j <= i; j++ {
					row := j*kvWidth + kv
					p := math.Exp(scale*dot(qs[at:][:dim], ks[row:][:dim]) - float64(logSums[i*s.Heads+h]))
					ds := scale * p * (dot(dos[at:][:dim], vs[row:][:dim]) - mean)
					for d := range dim {
						gv[row+d] += p * float64(dos[at+d])
						gq[at+d] += ds * float64(ks[row+d])
						gk[row+d] += ds * float64(qs[at+d])
					}
				}
			}
		}
	}
	narrow(floats(dq, rows*width), gq)
	narrow(floats(dk, rows*kvWidth), gk)
	narrow(floats(dv, rows*kvWidth), gv)
}

func narrow(dst []float32, src []float64) {
	for i, v := range src {
		dst[i] = float32(v)
	}
}

func (r *Reference) AllocCache(slots, capacity, kvHeads, headDim int) (Cache, error) {
	n := slots * capacity * kvHeads * headDim
	k, _ := r.Alloc(Float32, n)
	v, _ := r.Alloc(Float32, n)
	return Cache{K: k, V: v, Slots: slots, Capacity: capacity, KVHeads: kvHeads, HeadDim: headDim}, nil
}

func (*Reference) FreeCache(Cache) {}

func (*Reference) CacheWrite(c Cache, k, v Buf, slots, positions []int32) {
	width := c.KVHeads * c.HeadDim
	ks, vs := floats(k, len(slots)*width), floats(v, len(slots)*width)
	for r, slot := range slots {
		if int(positions[r]) >= c.Capacity {
			panic("internal error: ops: cache is full")
		}
		at := (int(slot)*c.Capacity + int(positions[r])) * width
		copy(c.K.(*memory).f[at:][:width], ks[r*width:])
		copy(c.V.(*memory).f[at:][:width], vs[r*width:])
	}
}

func (ref *Reference) AttentionCached(out, q Buf, c Cache, slots, lengths []int32, heads, window int) {
	width, kvWidth := heads*c.HeadDim, c.KVHeads*c.HeadDim
	for r, slot := range slots {
		n := int(lengths[r])
		at := int(slot) * c.Capacity * kvWidth
		// The last row of a sample of n rows, all others of which are left out.
		queries := make([]float32, n*width)
		copy(queries[(n-1)*width:], floats(q, len(slots)*width)[r*width:][:width])
		result := &memory{f: make([]float32, n*width)}
		ref.Attention(result, nil, &memory{f: queries},
			&memory{f: c.K.(*memory).f[at:][:n*kvWidth]}, &memory{f: c.V.(*memory).f[at:][:n*kvWidth]},
			AttentionShape{Heads: heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: window, Starts: []int32{0, int32(n)}})
		copy(floats(out, len(slots)*width)[r*width:], result.f[(n-1)*width:])
	}
}
