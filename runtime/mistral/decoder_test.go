package mistral

import (
	"math"
	"slices"
	"testing"

	"pipe/runtime/lora"
	"pipe/runtime/ops"
)

// greedy continues a prompt by whole forward passes.
func greedy(t *testing.T, p *Pass, prompt []int32, n int) []int32 {
	ids := slices.Clone(prompt)
	for range n {
		p.Forward(sample{ids: ids}.batch(), ops.Dropout{})
		logits, err := p.Logits()
		if err != nil {
			t.Fatal(err)
		}
		last := logits[len(logits)-p.model.Config.Vocabulary:]
		best := 0
		for i, x := range last {
			if x > last[best] {
				best = i
			}
		}
		ids = append(ids, int32(best))
	}
	return ids[len(prompt):]
}

func TestDecoderAgreesWithWholePasses(t *testing.T) {
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		m := tinyModel(t, b, tinyConfig)
		for _, a := range []*lora.Adapter{nil, tinyAdapter(t, m, 2)} {
			p := newPass(t, m, a, 32)
			prompts := [][]int32{{1, 2, 3, 4, 5, 6, 7}, {9}, {4, 4}}
			d, err := NewDecoder(m, 4, 32, 10)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Free()
			if err := d.Use(a); err != nil {
				t.Fatal(err)
			}
			slots := []int32{2, 0, 3}
			next := d.Prefill(prompts, slots)
			var got [3][]int32
			for n := range 12 {
				var positions []int32
				for i, id := range next.IDs {
					got[i] = append(got[i], id)
					positions = append(positions, int32(len(prompts[i])+n))
				}
				next = d.Step(next.IDs, slots, positions)
			}
			for i, prompt := range prompts {
				if want := greedy(t, p, prompt, 12); !slices.Equal(got[i], want) {
					t.Errorf("prompt %d: got %v, want %v", i, got[i], want)
				}
			}
		}
	})
}

func TestDecoderTellsWhichLogitsAreNotFinite(t *testing.T) {
	b := ops.NewReference()
	m := tinyModel(t, b, tinyConfig)
	// Token 5 has an embedding that is not a number.
	nan := make([]float32, tinyConfig.Width)
	for i := range nan {
		nan[i] = float32(math.NaN())
	}
	b.Upload(m.embed.Slice(5*tinyConfig.Width, 6*tinyConfig.Width), nan)
	d, err := NewDecoder(m, 2, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	next := d.Prefill([][]int32{{1, 5}, {1, 2}}, []int32{0, 1})
	if next.Finite[0] || !next.Finite[1] {
		t.Errorf("got %v, want only the first to be not finite", next.Finite)
	}
}
