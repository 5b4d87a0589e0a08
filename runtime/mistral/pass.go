package mistral

import (
	"fmt"
	"slices"

	"pipe/runtime/lora"
	"pipe/runtime/ops"
)

// Pass runs packed batches forward and backward. Its buffers are allocated once,
// for a highest number of rows, and used again for every batch.
//
// Of each layer it keeps, for each row,
//
//	2C + 2·H·D + 2·K·D + H + 2F + Σr   float32
//
// (input, middle; query, context; key, value; attention's denominators; gate, up;
// the adapter's x·Aᵀ), for Mistral-7B with rank 16 5.8 MiB in 32 layers. What is
// cheap to compute again is: both norms' outputs and silu(gate) ∘ up, another
// 2C + F. Gradients are kept for one layer at a time. See Config.PassBytes.
type Pass struct {
	workspace
	layers []activations
	output ops.Buf // (rows, C) the residual stream after the last block
	head   head
	grad   gradients
	batch  Batch
}

// head is what the supervised rows need beside normed.
type head struct {
	index, targets         ops.Buf // int32 (rows)
	selected               ops.Buf // (rows, C) residual stream of the supervised rows
	gradient               ops.Buf // (rows, C) of selected
	loss, entropy, correct ops.Buf // (rows)

	measures Measures
}

// gradients belong to one block at a time, but for stream.
type gradients struct {
	stream            ops.Buf // (rows, C) of the residual stream
	normed            ops.Buf // (rows, C)
	query, context    ops.Buf // (rows, H·D)
	key, value        ops.Buf // (rows, K·D)
	gate, up, product ops.Buf // (rows, F)
}

// Measures are figures of the supervised rows, one each, in their order. They
// are overwritten by the next batch.
type Measures struct {
	Loss    []float32 // -log p(target), in nats
	Entropy []float32 // of the distribution over the vocabulary, in nats
	Correct []float32 // 1 if the target is the likeliest token, else 0
}

// NewPass returns a pass of m over batches of up to rows rows. a may be nil; if it
// has gradients (see lora.Adapter.NeedGrads), Backward adds to them. The pass
// keeps m and a and owns its buffers until Free. The error is the backend's.
func NewPass(m *Model, a *lora.Adapter, rows int) (*Pass, error) {
	c := m.Config
	p := &Pass{workspace: newWorkspace(m, a, rows, min(rows, c.Positions))}
	p.layers = make([]activations, c.Layers)
	for i := range p.layers {
		act := &p.layers[i]
		act.input = p.floats(rows * c.Width)
		act.stats = p.floats(rows * c.Heads)
		p.allocate(act)
		for l := range lora.Linear(lora.Linears) {
			if path, ok := a.At(i, l); ok {
				act.low[l] = p.floats(rows * path.Rank)
			}
		}
	}
	p.output = p.floats(rows * c.Width)
	p.head = head{
		index: p.ints(rows), targets: p.ints(rows), selected: p.floats(rows * c.Width),
		loss: p.floats(rows), entropy: p.floats(rows), correct: p.floats(rows),
	}
	if a != nil && a.Grads != nil {
		p.head.gradient = p.floats(rows * c.Width)
		query, kv := rows*c.Heads*c.HeadDim, rows*c.KVHeads*c.HeadDim
		p.grad = gradients{
			stream: p.floats(rows * c.Width), normed: p.floats(rows * c.Width),
			query: p.floats(query), context: p.floats(query), key: p.floats(kv), value: p.floats(kv),
			gate: p.floats(rows * c.FeedForward), up: p.floats(rows * c.FeedForward), product: p.floats(rows * c.FeedForward),
		}
	}
	if p.err != nil {
		p.Free()
		return nil, fmt.Errorf("buffers for batches of %d tokens: %w", rows, p.err)
	}
	return p, nil
}

// PassBytes is the memory that a Pass over rows rows takes on the backend, for
// an adapter of the given rank on all linears, with gradients.
func (c Config) PassBytes(rows, rank int) int64 {
	query, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	layer := 2*c.Width + 2*query + 2*kv + c.Heads + 2*c.FeedForward + lora.Linears*rank
	once := 2 + c.Width + c.FeedForward + // workspace
		3*c.Width + 5 + // output, head
		2*c.Width + 2*query + 2*kv + 3*c.FeedForward // gradients
	return 4 * (int64(rows)*int64(c.Layers*layer+once) + int64(min(rows, c.Positions)*c.HeadDim))
}

// Free releases the pass's buffers, not the model's or the adapter's.
func (p *Pass) Free() { p.free() }

// Capacity is the highest number of rows of a batch.
func (p *Pass) Capacity() int { return p.capacity }

// Forward runs the blocks over a batch. dropout applies to the inputs of adapted
// linears: its Seed names the step, FirstRow is the number that the batch's
// first row has within the step, so that the way a step is cut into batches
// changes nothing. batch is copied.
func (p *Pass) Forward(batch *Batch, dropout ops.Dropout) {
	c := &p.model.Config
	if batch.Rows() == 0 || batch.Rows() > p.capacity || int(slices.Max(batch.Positions)) >= c.Positions {
		panic(fmt.Sprintf("internal error: mistral: batch of %d rows in a pass for up to %d, samples of up to %d", batch.Rows(), p.capacity, c.Positions))
	}
	p.dropout = dropout
	p.batch.Reset()
	p.batch.Starts = append(p.batch.Starts, batch.Starts...)
	p.batch.Supervised = append(p.batch.Supervised, batch.Supervised...)
	p.batch.Targets = append(p.batch.Targets, batch.Targets...)
	p.embed(p.layers[0].input, batch.IDs, batch.Positions)
	for i := range p.layers {
		a := &p.layers[i]
		p.project(i, a)
		p.backend.Attention(a.context, a.stats, a.query, a.key, a.value, c.attention(p.batch.Starts))
		p.finish(p.after(i), i, a)
	}
}

// after is the residual stream behind layer i.
func (p *Pass) after(i int) ops.Buf {
	if i+1 == len(p.layers) {
		return p.output
	}
	return p.layers[i+1].input
}

// attention is the shape of the attention over packed samples.
func (c *Config) attention(starts []int32) ops.AttentionShape {
	return ops.AttentionShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: c.Window, Starts: starts}
}

// Measure returns the figures of the supervised rows of the last Forward. It
// waits for queued work.
func (p *Pass) Measure() Measures {
	p.crossEntropy(nil, 0)
	return p.download()
}

// crossEntropy queues the head over the supervised rows. dx, if not nil, receives
// scale · ∂Σloss/∂normed for them.
func (p *Pass) crossEntropy(dx ops.Buf, scale float32) {
	n := len(p.batch.Supervised)
	if n == 0 {
		return
	}
	b, c, h := p.backend, &p.model.Config, &p.head
	index := h.index.Slice(0, n)
	b.Upload(index, p.batch.Supervised)
	b.Upload(h.targets.Slice(0, n), p.batch.Targets)
	b.GatherRows(h.selected, p.output, index, c.Width)
	b.RMSNorm(p.normed, h.selected, p.model.norm, n, c.Width, c.NormEps)
	b.CrossEntropy(dx, h.loss, h.entropy, h.correct, p.normed, h.targets, n, p.model.head, scale)
}

// download fetches the measures of crossEntropy.
func (p *Pass) download() Measures {
	n, h := len(p.batch.Supervised), &p.head
	if n == 0 {
		return Measures{}
	}
	for _, part := range []struct {
		host *[]float32
		from ops.Buf
	}{{&h.measures.Loss, h.loss}, {&h.measures.Entropy, h.entropy}, {&h.measures.Correct, h.correct}} {
		if cap(*part.host) < n {
			*part.host = make([]float32, n)
		}
		*part.host = (*part.host)[:n]
		p.backend.Download(*part.host, part.from.Slice(0, n))
	}
	return h.measures
}
