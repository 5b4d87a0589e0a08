package mistral

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pipe/runtime/lora"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/ops"
)

// lossOf is Σloss of a batch.
func (p *Pass) lossOf(batch *Batch, dropout ops.Dropout) float64 {
	p.Forward(batch, dropout)
	return sum(p.Measure().Loss)
}

// TestGradientsAreDifferenceQuotients checks A and B of every linear in the
// lowest, a middle and the highest layer, with and without dropout.
func TestGradientsAreDifferenceQuotients(t *testing.T) {
	for _, dropout := range []ops.Dropout{{}, {P: 0.3, Seed: 9, FirstRow: 4}} {
		m := tinyModel(t, ops.NewReference(), tinyConfig)
		a := tinyAdapter(t, m, 3)
		batch := pack(tinySamples())
		p := newPass(t, m, a, batch.Rows())
		p.Forward(batch, dropout)
		p.Backward(1)
		grads, start := p.host(a.Grads), a.Snapshot()
		a.Tensors(func(name string, shape [2]int, offset int) {
			// Along a random direction: one quotient tells of every element.
			direction := make([]float32, shape[0]*shape[1])
			var want, length float64
			for i := range direction {
				direction[i] = mistraltest.Noise(name, i)
				want += float64(direction[i]) * float64(grads[offset+i])
				length += float64(direction[i]) * float64(direction[i])
			}
			const step = 4e-3
			move := func(by float32) float64 {
				moved := slices.Clone(start)
				for i, d := range direction {
					moved[offset+i] += by * d
				}
				a.Restore(moved)
				return p.lossOf(batch, dropout)
			}
			got := (move(step) - move(-step)) / (2 * step)
			if math.Abs(got-want) > 3e-3*(math.Abs(want)+0.1*math.Sqrt(length)) {
				t.Errorf("dropout %g, %s: the gradient says %g, the difference quotient %g", dropout.P, name, want, got)
			}
		})
	}
}

func TestGradientsOfPartialAdapters(t *testing.T) {
	m := tinyModel(t, ops.NewReference(), tinyConfig)
	full := tinyAdapter(t, m, 2)
	batch := pack(tinySamples())
	for _, targets := range [][]lora.Linear{{lora.Query}, {lora.Down}, {lora.Value, lora.Output, lora.Up}} {
		// An adapter that carries some linears is a full one whose other B are zero.
		part := tinyAdapter(t, m, 2, targets...)
		values := make([]float32, full.Params.Len())
		partValues := part.Snapshot()
		place := map[string]int{}
		full.Tensors(func(name string, _ [2]int, offset int) { place[name] = offset })
		part.Tensors(func(name string, shape [2]int, offset int) {
			copy(values[place[name]:], partValues[offset:][:shape[0]*shape[1]])
		})
		full.Restore(values)
		m.backend.Fill(full.Grads, 0)
		for _, a := range []*lora.Adapter{full, part} {
			p := newPass(t, m, a, batch.Rows())
			p.Forward(batch, ops.Dropout{})
			p.Backward(0.5)
		}
		all, got := make([]float32, full.Grads.Len()), make([]float32, part.Grads.Len())
		m.backend.Download(all, full.Grads)
		m.backend.Download(got, part.Grads)
		part.Tensors(func(name string, shape [2]int, offset int) {
			n := shape[0] * shape[1]
			within(t, fmt.Sprint(targets, name), got[offset:][:n], all[place[name]:][:n], 1e-5)
		})
	}
}

func TestDropoutDoesNotDependOnBatches(t *testing.T) {
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		m := tinyModel(t, b, tinyConfig)
		a := tinyAdapter(t, m, 2)
		samples := tinySamples()
		all := pack(samples)
		p := newPass(t, m, a, all.Rows())
		p.Forward(all, ops.Dropout{P: 0.4, Seed: 3, FirstRow: 100})
		want := slices.Clone(p.Measure().Loss)
		var got []float32
		row := 100
		for _, s := range samples {
			p.Forward(s.batch(), ops.Dropout{P: 0.4, Seed: 3, FirstRow: row})
			got = append(got, p.Measure().Loss...)
			row += len(s.ids)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got losses %v one by one, %v in one batch", got, want)
		}
		p.Forward(all, ops.Dropout{P: 0.4, Seed: 4, FirstRow: 100})
		if slices.Equal(p.Measure().Loss, want) {
			t.Error("another seed drops the same elements")
		}
	})
}

func TestTiedHeadIsTheEmbedding(t *testing.T) {
	c := tinyConfig
	c.Tied = true
	m := tinyModel(t, ops.NewReference(), c)
	if m.head.Dense != m.embed {
		t.Error("the head has memory of its own")
	}
	p := newPass(t, m, nil, 4)
	p.Forward(sample{ids: []int32{1, 2, 3}}.batch(), ops.Dropout{})
	logits, err := p.Logits()
	if err != nil {
		t.Fatal(err)
	}
	var want float64
	table, final := p.host(m.embed), p.Final()
	for i := range c.Width {
		want += float64(table[7*c.Width+i]) * float64(final[i])
	}
	near(t, "logit", float64(logits[7]), want, 1e-5)
}

func TestUnsupervisedBatchHasNoGradient(t *testing.T) {
	m := tinyModel(t, ops.NewReference(), tinyConfig)
	a := tinyAdapter(t, m, 2)
	p := newPass(t, m, a, 4)
	p.Forward(tinySamples()[1].batch(), ops.Dropout{})
	if measures := p.Backward(1); len(measures.Loss) != 0 {
		t.Errorf("got %d losses", len(measures.Loss))
	}
	if sum(p.host(a.Grads)) != 0 {
		t.Error("there is a gradient")
	}
}

// counting counts the float32 that are allocated.
type counting struct {
	ops.Backend
	bytes int64
	fail  int // which Alloc fails; 0 none
	calls int
}

func (c *counting) Alloc(t ops.Type, n int) (ops.Buf, error) {
	c.calls++
	if c.calls == c.fail {
		return nil, fmt.Errorf("no memory for %d %s", n, t)
	}
	c.bytes += 4 * int64(n)
	return c.Backend.Alloc(t, n)
}

func (c *counting) AllocCache(slots, capacity, kvHeads, headDim int) (ops.Cache, error) {
	c.bytes += 8 * int64(slots*capacity*kvHeads*headDim)
	return c.Backend.AllocCache(slots, capacity, kvHeads, headDim)
}

func TestPassBytesAreWhatIsAllocated(t *testing.T) {
	b := &counting{Backend: ops.NewReference()}
	m := tinyModel(t, b, tinyConfig)
	a := tinyAdapter(t, m, 3)
	b.bytes = 0
	newPass(t, m, a, 40)
	if want := tinyConfig.PassBytes(40, 3); b.bytes != want {
		t.Errorf("allocated %d bytes, PassBytes says %d", b.bytes, want)
	}
	b.bytes = 0
	d, err := NewDecoder(m, 3, 20, 30)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Use(a); err != nil {
		t.Fatal(err)
	}
	if want := tinyConfig.DecoderBytes(3, 20, 30, 3); b.bytes != want {
		t.Errorf("allocated %d bytes, DecoderBytes says %d", b.bytes, want)
	}
	seven := Config{Width: 4096, Layers: 32, Heads: 32, KVHeads: 8, HeadDim: 128, FeedForward: 14336, Vocabulary: 32000, Positions: 32768}
	perRow := float64(seven.PassBytes(2048, 16)-seven.PassBytes(1024, 16)) / 1024 / (1 << 20)
	if perRow < 5.8 || perRow > 6.2 {
		t.Errorf("Mistral-7B takes %.2f MiB a token", perRow)
	}
}

func TestAllocationFailuresAreErrors(t *testing.T) {
	b := &counting{Backend: ops.NewReference()}
	dir := writeModel(t, tinyConfig, nil)
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"load", func() error { _, err := Load(b, dir); return err }},
		{"pass", func() error { _, err := NewPass(must(Load(b.Backend, dir)).on(b), nil, 8); return err }},
		{"decoder", func() error { _, err := NewDecoder(must(Load(b.Backend, dir)).on(b), 2, 8, 8); return err }},
	} {
		b.fail, b.calls = 0, 0
		if err := step.run(); err != nil {
			t.Fatal(err)
		}
		for n := b.calls; n > 0; n-- {
			b.fail, b.calls = n, 0
			if err := step.run(); err == nil {
				t.Errorf("%s: failing allocation %d of %d gives no error", step.name, n, b.calls)
			}
		}
	}
}

func must(m *Model, err error) *Model {
	if err != nil {
		panic(err)
	}
	return m
}

// on makes m allocate from b.
func (m *Model) on(b ops.Backend) *Model {
	m.backend, m.arena.backend = b, b
	return m
}
