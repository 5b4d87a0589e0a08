package lora

import (
	"math"
	"slices"

	"pipe/runtime/ops"
)

// Adapter is a set of low-rank paths on a backend. It is used by one goroutine at
// a time.
type Adapter struct {
	// Config may be changed where it says nothing about shapes or scales: Base,
	// Dropout.
	Config Config

	// Params holds every A and B. Grads, of the same length and order, is nil
	// until NeedGrads.
	Params, Grads ops.Buf

	backend ops.Backend
	base    Base
	layers  [][Linears]*path
}

// path is one carried linear.
type path struct {
	ops.LoRA
	alpha  float64
	offset int // of A in the flat buffers; B follows it
}

// carried says which rank and alpha a linear of a layer has; rank 0 is none.
type carried struct {
	rank  int
	alpha float64
}

// plan says what each layer carries.
type plan [][Linears]carried

// New returns an adapter for the linears that c.Targets names (none means all
// seven) in every layer, in PEFT's initial state: A is uniform in ±1/√in, which is
// Kaiming's rule with a = √5, and B is 0, so that it changes nothing yet. A is a
// pure function of seed, layer, linear and element (see Uniform): equal bits on
// every machine and for every choice of targets. The error is the config's or
// the backend's.
func New(b ops.Backend, base Base, c Config, seed uint64) (*Adapter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := make(plan, base.Layers)
	for layer := range p {
		for l := range Linear(Linears) {
			if len(c.Targets) == 0 || slices.Contains(c.Targets, l) {
				p[layer][l] = carried{c.Rank, c.Alpha}
			}
		}
	}
	a, err := allocate(b, base, c, p)
	if err != nil {
		return nil, err
	}
	initial := make([]float32, a.Params.Len())
	for layer := range a.layers {
		for l, p := range a.layers[layer] {
			if p == nil {
				continue
			}
			values := initial[p.offset:][:p.Rank*base.Shapes[l].In]
			fillUniform(values, seed, uint64(layer*Linears+l), 1/math.Sqrt(float64(base.Shapes[l].In)))
		}
	}
	b.Upload(a.Params, initial)
	return a, nil
}

// allocate returns an adapter whose A and B are zero.
func allocate(b ops.Backend, base Base, c Config, carries plan) (*Adapter, error) {
	a := &Adapter{Config: c, backend: b, base: base, layers: make([][Linears]*path, base.Layers)}
	total := 0
	for layer := range carries {
		for l, has := range carries[layer] {
			total += has.rank * (base.Shapes[l].In + base.Shapes[l].Out)
		}
	}
	var err error
	if a.Params, err = b.Alloc(ops.Float32, total); err != nil {
		return nil, err
	}
	offset := 0
	for layer := range carries {
		for l, has := range carries[layer] {
			if has.rank == 0 {
				continue
			}
			p := &path{offset: offset, alpha: has.alpha, LoRA: ops.LoRA{Rank: has.rank, Scale: c.scale(has)}}
			p.A, p.B, offset = a.slices(a.Params, p, Linear(l))
			a.layers[layer][l] = p
		}
	}
	return a, nil
}

// slices cuts a path's A and B out of a flat buffer; end is where they end.
func (a *Adapter) slices(flat ops.Buf, p *path, l Linear) (matrixA, matrixB ops.Buf, end int) {
	shape := a.base.Shapes[l]
	middle := p.offset + p.Rank*shape.In
	end = middle + p.Rank*shape.Out
	return flat.Slice(p.offset, middle), flat.Slice(middle, end), end
}

// scale is alpha/rank, for rsLoRA (Kalajdzievski 2023) alpha/√rank.
func (c Config) scale(has carried) float32 {
	if c.RSLoRA {
		return float32(has.alpha / math.Sqrt(float64(has.rank)))
	}
	return float32(has.alpha / float64(has.rank))
}

// NeedGrads allocates the gradients, zeroed, if they are not there yet.
func (a *Adapter) NeedGrads() error {
	if a.Grads != nil {
		return nil
	}
	grads, err := a.backend.Alloc(ops.Float32, a.Params.Len())
	if err != nil {
		return err
	}
	a.Grads = grads
	for layer := range a.layers {
		for l, p := range a.layers[layer] {
			if p != nil {
				p.GradA, p.GradB, _ = a.slices(grads, p, Linear(l))
			}
		}
	}
	return nil
}

// Free releases the buffers.
func (a *Adapter) Free() {
	a.backend.Free(a.Params)
	if a.Grads != nil {
		a.backend.Free(a.Grads)
	}
}

// At returns the low-rank path of a linear, without U and Dropout, which belong
// to a pass; ok is false if the adapter does not carry it. A nil adapter carries
// nothing.
func (a *Adapter) At(layer int, l Linear) (path ops.LoRA, ok bool) {
	if a == nil || a.layers[layer][l] == nil {
		return ops.LoRA{}, false
	}
	return a.layers[layer][l].LoRA, true
}

// First returns the lowest layer that the adapter carries a linear of, or the
// number of layers: below it nothing has a gradient.
func (a *Adapter) First() int {
	for layer := range a.layers {
		for _, p := range a.layers[layer] {
			if p != nil {
				return layer
			}
		}
	}
	return len(a.layers)
}

// Rank returns the highest rank in the adapter; 0 for a nil adapter.
func (a *Adapter) Rank() int {
	highest := 0
	if a == nil {
		return 0
	}
	for layer := range a.layers {
		for _, p := range a.layers[layer] {
			if p != nil {
				highest = max(highest, p.Rank)
			}
		}
	}
	return highest
}

// Backend returns the backend that holds the buffers.
func (a *Adapter) Backend() ops.Backend { return a.backend }

// Base returns the shapes that the adapter was made for.
func (a *Adapter) Base() Base { return a.base }

// Snapshot copies Params to the host.
func (a *Adapter) Snapshot() []float32 {
	values := make([]float32, a.Params.Len())
	a.backend.Download(values, a.Params)
	return values
}

// Restore sets Params to a snapshot of an adapter of the same form.
func (a *Adapter) Restore(values []float32) { a.backend.Upload(a.Params, values) }

// Tensors calls yield for each A and B with its name in a PEFT file, its shape and
// its place in the flat buffers, in the order of those.
func (a *Adapter) Tensors(yield func(name string, shape [2]int, offset int)) {
	for layer := range a.layers {
		for l, p := range a.layers[layer] {
			if p == nil {
				continue
			}
			shape, name := a.base.Shapes[l], tensorPrefix+Path(layer, Linear(l))
			yield(name+tensorA, [2]int{p.Rank, shape.In}, p.offset)
			yield(name+tensorB, [2]int{shape.Out, p.Rank}, p.offset+p.Rank*shape.In)
		}
	}
}

const (
	tensorPrefix = "base_model.model."
	tensorA      = ".lora_A.weight"
	tensorB      = ".lora_B.weight"
)
