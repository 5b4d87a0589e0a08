package mistral

import "pipe/runtime/ops"

// Hidden copies the residual stream of the last Forward to the host, (rows, C):
// layer 0 is the embedding, layer i what block i-1 gave.
func (p *Pass) Hidden(layer int) []float32 {
	stream := p.output
	if layer < len(p.layers) {
		stream = p.layers[layer].input
	}
	return p.host(p.cut(stream, p.model.Config.Width))
}

// Final copies the head's input of the last Forward to the host, (rows, C): the
// last block's output, normalised.
func (p *Pass) Final() []float32 {
	c := &p.model.Config
	p.backend.RMSNorm(p.normed, p.output, p.model.norm, p.rows, c.Width, c.NormEps)
	return p.host(p.cut(p.normed, c.Width))
}

// Logits copies the logits of all rows of the last Forward to the host,
// (rows, V). Nothing but tests needs that many. The error is the backend's.
func (p *Pass) Logits() ([]float32, error) {
	c := &p.model.Config
	logits, err := p.backend.Alloc(ops.Float32, p.rows*c.Vocabulary)
	if err != nil {
		return nil, err
	}
	defer p.backend.Free(logits)
	p.backend.RMSNorm(p.normed, p.output, p.model.norm, p.rows, c.Width, c.NormEps)
	p.backend.Linear(logits, p.normed, p.rows, p.model.head, nil)
	return p.host(logits), nil
}

func (p *Pass) host(b ops.Buf) []float32 {
	values := make([]float32, b.Len())
	p.backend.Download(values, b)
	return values
}
