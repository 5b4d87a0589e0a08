package mistral

import (
	"math"

	"pipe/runtime/lora"
	"pipe/runtime/ops"
)

// Model holds a Mistral's frozen weights on a backend. They are never written, so
// several passes and decoders may share a model, one at a time.
type Model struct {
	Config Config

	backend ops.Backend
	arena   arena
	embed   ops.Buf // (V, C)
	layers  []layer
	norm    ops.Buf    // (C)
	head    ops.Weight // (V, C); shares memory with embed if tied
}

// layer is one block's weights.
type layer struct {
	attentionNorm, feedForwardNorm ops.Buf // (C)

	linears [lora.Linears]ops.Weight
}

// Backend returns the backend that holds the weights.
func (m *Model) Backend() ops.Backend { return m.backend }

// Linear returns a frozen weight, still owned by the model.
func (m *Model) Linear(layer int, l lora.Linear) ops.Weight { return m.layers[layer].linears[l] }

// Free releases the weights.
func (m *Model) Free() { m.arena.free() }

// arena allocates buffers that are freed together. The first error stays; after
// it the buffers are nil.
type arena struct {
	backend ops.Backend
	buffers []ops.Buf
	err     error
}

func (a *arena) alloc(t ops.Type, n int) ops.Buf {
	if a.err != nil {
		return nil
	}
	b, err := a.backend.Alloc(t, n)
	if err != nil {
		a.err = err
		return nil
	}
	a.buffers = append(a.buffers, b)
	return b
}

func (a *arena) floats(n int) ops.Buf { return a.alloc(ops.Float32, n) }
func (a *arena) ints(n int) ops.Buf   { return a.alloc(ops.Int32, n) }

func (a *arena) free() {
	for _, b := range a.buffers {
		a.backend.Free(b)
	}
	a.buffers = nil
}

// rotaryTable returns the table of ops.Backend.Rope for positions 0 up to
// positions-1: (positions, D), the cosines of D/2 angles, then their sines (Su et
// al. 2021). Angle j of position p is p·theta^(-2j/D), in float32 steps as
// transformers takes them.
func rotaryTable(positions, headDim int, theta float64) []float32 {
	half := headDim / 2
	frequencies := make([]float32, half)
	for j := range frequencies {
		exponent := float32(2*j) / float32(headDim)
		frequencies[j] = 1 / float32(math.Pow(theta, float64(exponent)))
	}
	table := make([]float32, positions*headDim)
	for p := range positions {
		row := table[p*headDim:][:headDim]
		for j, f := range frequencies {
			sin, cos := math.Sincos(float64(float32(p) * f))
			row[j], row[half+j] = float32(cos), float32(sin)
		}
	}
	return table
}
