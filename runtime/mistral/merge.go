package mistral

import (
	"pipe/runtime/lora"
	"pipe/runtime/ops"
)

// mergeRows is how many rows of W are dequantised at a time.
const mergeRows = 256

// Merge returns W + scale·B·A of a linear, (out, in), row-major, in float32 as
// PEFT's merge computes it: B·A first, then the scale, then the sum. W is what the
// model computes with, so an NF4 base gives the dequantised weight. Without a path
// in a it is W. The error is the backend's.
func (m *Model) Merge(a *lora.Adapter, layer int, l lora.Linear) ([]float32, error) {
	b, w := m.backend, m.Linear(layer, l)
	sum, err := b.Alloc(ops.Float32, w.Out*w.In)
	if err != nil {
		return nil, err
	}
	defer b.Free(sum)
	if path, ok := a.At(layer, l); ok {
		// B·A is the gradient that a linear of weight A passes down from B.
		b.LinearBackward(sum, path.B, nil, w.Out, ops.Weight{Out: path.Rank, In: w.In, Dense: path.A}, nil, false)
		b.Scale(sum, path.Scale)
	}
	if w.Dense != nil {
		b.Add(sum, w.Dense)
	} else if err := m.addDequantized(sum, w); err != nil {
		return nil, err
	}
	merged := make([]float32, sum.Len())
	b.Download(merged, sum)
	return merged, b.Sync()
}

// addDequantized adds an NF4 weight to sum: it is the gradient that the linear
// passes down from the identity, in which every sum has one term that is not zero.
func (m *Model) addDequantized(sum ops.Buf, w ops.Weight) error {
	scratch := arena{backend: m.backend}
	defer scratch.free()
	rows := min(mergeRows, w.Out)
	identity, part := scratch.floats(rows*w.Out), scratch.floats(rows*w.In)
	if scratch.err != nil {
		return scratch.err
	}
	for from := 0; from < w.Out; from += rows {
		n := min(rows, w.Out-from)
		values := make([]float32, rows*w.Out)
		for i := range n {
			values[i*w.Out+from+i] = 1
		}
		m.backend.Upload(identity, values)
		m.backend.LinearBackward(part, identity, nil, n, w, nil, false)
		m.backend.Add(sum.Slice(from*w.In, (from+n)*w.In), part.Slice(0, n*w.In))
	}
	return nil
}
