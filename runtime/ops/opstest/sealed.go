package opstest

import (
	"fmt"

	"pipe/runtime/ops"
)

// Sealed returns b behind buffers that no host code can read or write: they
// have no elements, only a way for the seal to find those of b. Code that runs
// on it touches elements by Upload, Download and operations alone, on whatever
// device. It panics where a buffer is used after Free, where a slice is freed,
// and where a buffer of another backend is used.
func Sealed(b ops.Backend) ops.Backend { return &sealed{Backend: b} }

// sealed embeds the methods that have no buffers: Name, Tier, Sync and Close.
type sealed struct{ ops.Backend }

var _ ops.Backend = (*sealed)(nil)

// handle is a sealed buffer.
type handle struct {
	inner ops.Buf
	owner *sealed
	whole *handle // whose slice it is; itself if it is none
	freed bool
}

func (h *handle) Len() int       { return h.inner.Len() }
func (h *handle) Type() ops.Type { return h.inner.Type() }

func (h *handle) Slice(lo, hi int) ops.Buf {
	h.owner.open(h)
	return &handle{inner: h.inner.Slice(lo, hi), owner: h.owner, whole: h.whole}
}

func (s *sealed) seal(b ops.Buf) ops.Buf {
	h := &handle{inner: b, owner: s}
	h.whole = h
	return h
}

// open returns the buffer behind b; nil stays nil.
func (s *sealed) open(b ops.Buf) ops.Buf {
	if b == nil {
		return nil
	}
	h, ok := b.(*handle)
	switch {
	case !ok || h.owner != s:
		panic(fmt.Sprintf("internal error: opstest: %T is no buffer of this backend", b))
	case h.whole.freed:
		panic("internal error: opstest: buffer is used after it was freed")
	}
	return h.inner
}

func (s *sealed) weight(w ops.Weight) ops.Weight {
	w.Dense, w.Codes, w.Absmax = s.open(w.Dense), s.open(w.Codes), s.open(w.Absmax)
	return w
}

func (s *sealed) lora(l *ops.LoRA) *ops.LoRA {
	if l == nil {
		return nil
	}
	o := *l
	o.A, o.B, o.U, o.GradA, o.GradB = s.open(l.A), s.open(l.B), s.open(l.U), s.open(l.GradA), s.open(l.GradB)
	return &o
}

func (s *sealed) cache(c ops.Cache) ops.Cache {
	c.K, c.V = s.open(c.K), s.open(c.V)
	return c
}

func (s *sealed) Alloc(t ops.Type, n int) (ops.Buf, error) {
	b, err := s.Backend.Alloc(t, n)
	if err != nil {
		return nil, err
	}
	return s.seal(b), nil
}

func (s *sealed) Free(b ops.Buf) {
	inner := s.open(b)
	h := b.(*handle)
	if h.whole != h {
		panic("internal error: opstest: a slice is freed")
	}
	h.freed = true
	s.Backend.Free(inner)
}

func (s *sealed) Upload(dst ops.Buf, src any)   { s.Backend.Upload(s.open(dst), src) }
func (s *sealed) Download(dst any, src ops.Buf) { s.Backend.Download(dst, s.open(src)) }

func (s *sealed) Embed(out, table, ids ops.Buf, width int) {
	s.Backend.Embed(s.open(out), s.open(table), s.open(ids), width)
}

func (s *sealed) Linear(y, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA) {
	s.Backend.Linear(s.open(y), s.open(x), rows, s.weight(w), s.lora(l))
}

func (s *sealed) LinearBackward(dx, dy, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA, accumulate bool) {
	s.Backend.LinearBackward(s.open(dx), s.open(dy), s.open(x), rows, s.weight(w), s.lora(l), accumulate)
}

func (s *sealed) RMSNorm(y, x, weight ops.Buf, rows, width int, eps float32) {
	s.Backend.RMSNorm(s.open(y), s.open(x), s.open(weight), rows, width, eps)
}

func (s *sealed) RMSNormBackward(dx, dy, x, weight ops.Buf, rows, width int, eps float32) {
	s.Backend.RMSNormBackward(s.open(dx), s.open(dy), s.open(x), s.open(weight), rows, width, eps)
}

func (s *sealed) Rope(x, table, positions ops.Buf, rows, heads, headDim int, inverse bool) {
	s.Backend.Rope(s.open(x), s.open(table), s.open(positions), rows, heads, headDim, inverse)
}

func (s *sealed) Attention(out, stats, q, k, v ops.Buf, shape ops.AttentionShape) {
	s.Backend.Attention(s.open(out), s.open(stats), s.open(q), s.open(k), s.open(v), shape)
}

func (s *sealed) AttentionBackward(dq, dk, dv, dout, out, stats, q, k, v ops.Buf, shape ops.AttentionShape) {
	s.Backend.AttentionBackward(s.open(dq), s.open(dk), s.open(dv), s.open(dout), s.open(out), s.open(stats),
		s.open(q), s.open(k), s.open(v), shape)
}

func (s *sealed) AllocCache(slots, capacity, kvHeads, headDim int) (ops.Cache, error) {
	c, err := s.Backend.AllocCache(slots, capacity, kvHeads, headDim)
	if err != nil {
		return ops.Cache{}, err
	}
	c.K, c.V = s.seal(c.K), s.seal(c.V)
	return c, nil
}

func (s *sealed) FreeCache(c ops.Cache) {
	inner := s.cache(c)
	c.K.(*handle).freed, c.V.(*handle).freed = true, true
	s.Backend.FreeCache(inner)
}

func (s *sealed) CacheWrite(c ops.Cache, k, v ops.Buf, slots, positions []int32) {
	s.Backend.CacheWrite(s.cache(c), s.open(k), s.open(v), slots, positions)
}

func (s *sealed) AttentionCached(out, q ops.Buf, c ops.Cache, slots, lengths []int32, heads, window int) {
	s.Backend.AttentionCached(s.open(out), s.open(q), s.cache(c), slots, lengths, heads, window)
}

func (s *sealed) SwiGLU(h, gate, up ops.Buf) {
	s.Backend.SwiGLU(s.open(h), s.open(gate), s.open(up))
}

func (s *sealed) SwiGLUBackward(dgate, dup, dh, gate, up ops.Buf) {
	s.Backend.SwiGLUBackward(s.open(dgate), s.open(dup), s.open(dh), s.open(gate), s.open(up))
}

func (s *sealed) CrossEntropy(dx, loss, entropy, correct, x, targets ops.Buf, rows int, w ops.Weight, scale float32) {
	s.Backend.CrossEntropy(s.open(dx), s.open(loss), s.open(entropy), s.open(correct), s.open(x), s.open(targets), rows, s.weight(w), scale)
}

func (s *sealed) Argmax(out, x ops.Buf, rows, width int) {
	s.Backend.Argmax(s.open(out), s.open(x), rows, width)
}

func (s *sealed) Add(dst, src ops.Buf)          { s.Backend.Add(s.open(dst), s.open(src)) }
func (s *sealed) Scale(x ops.Buf, f float32)    { s.Backend.Scale(s.open(x), f) }
func (s *sealed) Fill(x ops.Buf, value float32) { s.Backend.Fill(s.open(x), value) }
func (s *sealed) SquaredNorm(out, x ops.Buf)    { s.Backend.SquaredNorm(s.open(out), s.open(x)) }

func (s *sealed) GatherRows(dst, src, index ops.Buf, width int) {
	s.Backend.GatherRows(s.open(dst), s.open(src), s.open(index), width)
}

func (s *sealed) ScatterRows(dst, src, index ops.Buf, width int) {
	s.Backend.ScatterRows(s.open(dst), s.open(src), s.open(index), width)
}

func (s *sealed) AdamW(p, g, m, v ops.Buf, step ops.AdamWStep) {
	s.Backend.AdamW(s.open(p), s.open(g), s.open(m), s.open(v), step)
}
