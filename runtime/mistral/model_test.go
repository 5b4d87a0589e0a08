package mistral

import (
	"encoding/json"
	"math"
	"testing"

	"pipe/runtime/lora"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/ops"
)

var tinyConfig = configOf(mistraltest.Awkward)

func configOf(s mistraltest.Sizes) Config {
	return Config{Width: s.Width, Layers: s.Layers, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, FeedForward: s.FeedForward,
		Vocabulary: s.Vocabulary, Positions: s.Positions, Window: s.Window, Tied: s.Tied, NormEps: mistraltest.Eps, RopeTheta: mistraltest.Theta}
}

// writeModel writes a model of random weights.
func writeModel(t testing.TB, c Config, change func(shapes map[string][]int)) string {
	t.Helper()
	return mistraltest.Write(t, mistraltest.Sizes{Width: c.Width, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
		FeedForward: c.FeedForward, Vocabulary: c.Vocabulary, Positions: c.Positions, Window: c.Window, Tied: c.Tied}, change)
}

// tinyModel loads a model of random weights.
func tinyModel(t testing.TB, b ops.Backend, c Config) *Model {
	t.Helper()
	m, err := Load(b, writeModel(t, c, nil))
	if err != nil {
		t.Fatal(err)
	}
	if m.Config != c {
		t.Fatalf("config: got %+v, want %+v", m.Config, c)
	}
	return m
}

// tinyAdapter is an adapter with gradients whose B is not zero.
func tinyAdapter(t testing.TB, m *Model, rank int, targets ...lora.Linear) *lora.Adapter {
	t.Helper()
	a, err := lora.New(m.backend, m.Config.Base(), lora.Config{Rank: rank, Alpha: 3, Targets: targets}, 5)
	if err != nil {
		t.Fatal(err)
	}
	mistraltest.Fill(a)
	if err := a.NeedGrads(); err != nil {
		t.Fatal(err)
	}
	return a
}

// tinySamples are three samples, of which the second is not supervised at all.
func tinySamples() []sample {
	var samples []sample
	for i, n := range []int{7, 4, 9} {
		var s sample
		for j := range n {
			s.ids = append(s.ids, int32((i*11+j*j*5+j)%23))
			s.isTarget = append(s.isTarget, i != 1 && j > 2)
		}
		samples = append(samples, s)
	}
	return samples
}

func pack(samples []sample) *Batch {
	b := &Batch{}
	for _, s := range samples {
		b.Add(s.ids, s.isTarget)
	}
	return b
}

func TestRotaryTable(t *testing.T) {
	table := rotaryTable(10, 6, 100)
	for p := range 10 {
		for j := range 3 {
			angle := float64(p) * math.Pow(100, -2*float64(j)/6)
			if math.Abs(float64(table[p*6+j])-math.Cos(angle)) > 1e-5 || math.Abs(float64(table[p*6+3+j])-math.Sin(angle)) > 1e-5 {
				t.Errorf("position %d, angle %d: got %g, %g", p, j, table[p*6+j], table[p*6+3+j])
			}
		}
	}
}

func TestBatchMarksWhatPredictsTargets(t *testing.T) {
	b := pack([]sample{{ids: []int32{5, 6, 7}, isTarget: []bool{true, false, true}}, {ids: []int32{8}, isTarget: []bool{true}}, {ids: []int32{9, 10}, isTarget: []bool{false, true}}})
	want := Batch{IDs: []int32{5, 6, 7, 8, 9, 10}, Positions: []int32{0, 1, 2, 0, 0, 1}, Starts: []int32{0, 3, 4, 6},
		Supervised: []int32{1, 4}, Targets: []int32{7, 10}}
	if got, want := toJSON(t, b), toJSON(t, &want); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.Reset()
	b.Add([]int32{1, 2}, nil)
	if len(b.Supervised) != 0 || b.Rows() != 2 || len(b.Starts) != 2 {
		t.Errorf("after Reset: %s", toJSON(t, b))
	}
}

func toJSON(t *testing.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
