package mistral

import (
	"pipe/runtime/lora"
	"pipe/runtime/ops"
)

// workspace computes blocks over the rows of one batch. Pass and Decoder share
// it; they differ in how a query meets the keys.
type workspace struct {
	arena
	model   *Model
	adapter *lora.Adapter // may be nil

	capacity int // rows that the buffers hold
	rows     int // rows of the current batch
	dropout  ops.Dropout

	ids, positions ops.Buf // int32 (rows)
	angles         ops.Buf // rotary table
	normed         ops.Buf // (rows, C)
	product        ops.Buf // (rows, F): silu(gate) ∘ up
}

// activations are what one block computes and the backward pass reads.
type activations struct {
	input      ops.Buf // (rows, C) the residual stream before the block
	query      ops.Buf // (rows, H·D) rotated
	key, value ops.Buf // (rows, K·D) key rotated
	context    ops.Buf // (rows, H·D) attention's result
	stats      ops.Buf // (rows, H)
	middle     ops.Buf // (rows, C) the residual stream after attention
	gate, up   ops.Buf // (rows, F)

	low [lora.Linears]ops.Buf // (rows, r) the adapter's x·Aᵀ
}

// newWorkspace allocates for up to rows rows and positions 0 up to positions-1.
func newWorkspace(m *Model, a *lora.Adapter, rows, positions int) workspace {
	c := m.Config
	w := workspace{model: m, adapter: a, capacity: rows, arena: arena{backend: m.backend}}
	w.ids, w.positions = w.ints(rows), w.ints(rows)
	w.angles = w.floats(positions * c.HeadDim)
	w.normed, w.product = w.floats(rows*c.Width), w.floats(rows*c.FeedForward)
	if w.err == nil {
		w.backend.Upload(w.angles, rotaryTable(positions, c.HeadDim, c.RopeTheta))
	}
	return w
}

// allocate fills in all of a but input and low.
func (w *workspace) allocate(a *activations) {
	c := w.model.Config
	a.query, a.context = w.floats(w.capacity*c.Heads*c.HeadDim), w.floats(w.capacity*c.Heads*c.HeadDim)
	a.key, a.value = w.floats(w.capacity*c.KVHeads*c.HeadDim), w.floats(w.capacity*c.KVHeads*c.HeadDim)
	a.middle = w.floats(w.capacity * c.Width)
	a.gate, a.up = w.floats(w.capacity*c.FeedForward), w.floats(w.capacity*c.FeedForward)
}

// cut is the part of a buffer, width elements a row, that the batch's rows fill.
func (w *workspace) cut(b ops.Buf, width int) ops.Buf { return b.Slice(0, w.rows*width) }

// embed begins a batch: it looks up the tokens and writes the residual stream.
func (w *workspace) embed(stream ops.Buf, ids, positions []int32) {
	w.rows = len(ids)
	w.backend.Upload(w.cut(w.ids, 1), ids)
	w.backend.Upload(w.cut(w.positions, 1), positions)
	w.backend.Embed(stream, w.model.embed, w.cut(w.ids, 1), w.model.Config.Width)
}

// project computes a block's query, key and value from its input.
func (w *workspace) project(layer int, a *activations) {
	b, c, weights := w.backend, &w.model.Config, &w.model.layers[layer]
	b.RMSNorm(w.normed, a.input, weights.attentionNorm, w.rows, c.Width, c.NormEps)
	w.linear(a.query, w.normed, layer, lora.Query, a)
	w.linear(a.key, w.normed, layer, lora.Key, a)
	w.linear(a.value, w.normed, layer, lora.Value, a)
	b.Rope(a.query, w.angles, w.positions, w.rows, c.Heads, c.HeadDim, false)
	b.Rope(a.key, w.angles, w.positions, w.rows, c.KVHeads, c.HeadDim, false)
}

// finish computes a block's output from attention's result. output may be a.input.
func (w *workspace) finish(output ops.Buf, layer int, a *activations) {
	b, c, weights := w.backend, &w.model.Config, &w.model.layers[layer]
	w.linear(a.middle, a.context, layer, lora.Output, a)
	b.Add(w.cut(a.middle, c.Width), w.cut(a.input, c.Width))
	b.RMSNorm(w.normed, a.middle, weights.feedForwardNorm, w.rows, c.Width, c.NormEps)
	w.linear(a.gate, w.normed, layer, lora.Gate, a)
	w.linear(a.up, w.normed, layer, lora.Up, a)
	w.swiGLU(a)
	w.linear(output, w.product, layer, lora.Down, a)
	b.Add(w.cut(output, c.Width), w.cut(a.middle, c.Width))
}

// swiGLU computes product from a block's gate and up.
func (w *workspace) swiGLU(a *activations) {
	f := w.model.Config.FeedForward
	w.backend.SwiGLU(w.cut(w.product, f), w.cut(a.gate, f), w.cut(a.up, f))
}

// linear computes y = x·Wᵀ and the adapter's path.
func (w *workspace) linear(y, x ops.Buf, layer int, l lora.Linear, a *activations) {
	w.backend.Linear(y, x, w.rows, w.model.layers[layer].linears[l], w.path(layer, l, a))
}

// linearBackward computes dx of linear and the gradients of A and B. dx may be nil.
func (w *workspace) linearBackward(dx, dy, x ops.Buf, layer int, l lora.Linear, a *activations, accumulate bool) {
	path := w.path(layer, l, a)
	if dx == nil && path == nil {
		return
	}
	w.backend.LinearBackward(dx, dy, x, w.rows, w.model.layers[layer].linears[l], path, accumulate)
}

// path is the adapter's part of a linear in this batch, or nil.
func (w *workspace) path(layer int, l lora.Linear, a *activations) *ops.LoRA {
	p, ok := w.adapter.At(layer, l)
	if !ok {
		return nil
	}
	p.U = a.low[l]
	if p.Dropout = w.dropout; p.Dropout.P != 0 {
		// Every linear drops elements of its own.
		p.Dropout.Seed = lora.Mix(w.dropout.Seed, uint64(layer*lora.Linears+int(l)))
	}
	return &p
}
