package mistral

import (
	"pipe/runtime/lora"
	"pipe/runtime/ops"
)

// Backward measures the supervised rows of the last Forward, as Measure does, and
// adds the gradients of scale · Σloss to the adapter's. It waits for queued work.
//
// The base is frozen: only A and B have gradients, and nothing is computed below
// the lowest layer that the adapter carries.
func (p *Pass) Backward(scale float32) Measures {
	if len(p.batch.Supervised) == 0 {
		return Measures{}
	}
	p.crossEntropy(p.grad.normed, scale)
	p.headBackward()
	first := p.adapter.First()
	for i := len(p.layers) - 1; i >= first; i-- {
		p.finishBackward(i)
		p.projectBackward(i, i > first)
	}
	return p.download()
}

// headBackward turns the gradient of the head's input, in grad.normed for the
// supervised rows, into that of the residual stream, which is zero elsewhere.
func (p *Pass) headBackward() {
	n, b, c, h := len(p.batch.Supervised), p.backend, &p.model.Config, &p.head
	b.Fill(h.gradient.Slice(0, n*c.Width), 0)
	b.RMSNormBackward(h.gradient, p.grad.normed, h.selected, p.model.norm, n, c.Width, c.NormEps)
	b.Fill(p.cut(p.grad.stream, c.Width), 0)
	b.ScatterRows(p.grad.stream, h.gradient, h.index.Slice(0, n), c.Width)
}

// finishBackward is the backward pass of finish but for attention's output
// projection: grad.stream is that of the block's output before and that of
// middle after it.
func (p *Pass) finishBackward(layer int) {
	b, c, weights := p.backend, &p.model.Config, &p.model.layers[layer]
	a, g, f := &p.layers[layer], &p.grad, p.model.Config.FeedForward
	p.swiGLU(a)
	p.linearBackward(g.product, g.stream, p.product, layer, lora.Down, a, false)
	b.SwiGLUBackward(p.cut(g.gate, f), p.cut(g.up, f), p.cut(g.product, f), p.cut(a.gate, f), p.cut(a.up, f))
	b.RMSNorm(p.normed, a.middle, weights.feedForwardNorm, p.rows, c.Width, c.NormEps)
	p.linearBackward(g.normed, g.gate, p.normed, layer, lora.Gate, a, false)
	p.linearBackward(g.normed, g.up, p.normed, layer, lora.Up, a, true)
	b.RMSNormBackward(g.stream, g.normed, a.middle, weights.feedForwardNorm, p.rows, c.Width, c.NormEps)
}

// projectBackward is the backward pass of the attention half of a block:
// grad.stream is that of middle before and, if wantInput, that of the block's
// input after it.
func (p *Pass) projectBackward(layer int, wantInput bool) {
	b, c, weights := p.backend, &p.model.Config, &p.model.layers[layer]
	a, g := &p.layers[layer], &p.grad
	p.linearBackward(g.context, g.stream, a.context, layer, lora.Output, a, false)
	b.AttentionBackward(g.query, g.key, g.value, g.context, a.context, a.stats, a.query, a.key, a.value, c.attention(p.batch.Starts))
	b.Rope(g.query, p.angles, p.positions, p.rows, c.Heads, c.HeadDim, true)
	b.Rope(g.key, p.angles, p.positions, p.rows, c.KVHeads, c.HeadDim, true)
	b.RMSNorm(p.normed, a.input, weights.attentionNorm, p.rows, c.Width, c.NormEps)
	var input ops.Buf // stays nil where nobody asks for the gradient
	if wantInput {
		input = g.normed
	}
	p.linearBackward(input, g.query, p.normed, layer, lora.Query, a, false)
	p.linearBackward(input, g.key, p.normed, layer, lora.Key, a, true)
	p.linearBackward(input, g.value, p.normed, layer, lora.Value, a, true)
	if wantInput {
		b.RMSNormBackward(g.stream, g.normed, a.input, weights.attentionNorm, p.rows, c.Width, c.NormEps)
	}
}
