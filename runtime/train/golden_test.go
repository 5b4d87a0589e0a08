package train

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"pipe/internal/golden"
	"pipe/runtime/cpu"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/ops"
	"pipe/runtime/ops/opstest"
	"pipe/runtime/optim"
	"pipe/runtime/safetensors"
)

// onEachBackend runs a test on the reference, with buffers that the host cannot
// read, and on every tier of the CPU.
func onEachBackend(t *testing.T, test func(t *testing.T, b ops.Backend)) {
	t.Run("sealed", func(t *testing.T) { test(t, opstest.Sealed(ops.NewReference())) })
	for _, tier := range tiers() {
		t.Run(tier, func(t *testing.T) { test(t, openTier(t, tier, 2)) })
	}
}

// tiers are those of the CPU, in a short test the fastest alone.
func tiers() []string {
	if testing.Short() {
		return cpu.Tiers()[:1]
	}
	return cpu.Tiers()
}

func openTier(t testing.TB, tier string, workers int) ops.Backend {
	t.Helper()
	b, err := cpu.Open(tier, workers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func near(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %.12g, want %.12g: off by %g, allowed %g", what, got, want, math.Abs(got-want), tolerance)
	}
}

// goldenTraining is train.json.
type goldenTraining struct {
	Base, Init, Final string
	Samples           int
	Accumulation      int
	MicroBatch        int     `json:"micro_batch"`
	LearningRate      float64 `json:"learning_rate"`
	WarmupSteps       int     `json:"warmup_steps"`
	Beta1, Beta2, Eps float64
	WeightDecay       float64 `json:"weight_decay"`
	MaxGradNorm       float64 `json:"max_grad_norm"`
	Steps             []struct {
		LearningRate float64 `json:"learning_rate"`
		Supervised   int
		Loss         float64
		GradNorm     float64 `json:"grad_norm"`
		Accuracy     float64
		NearTies     int `json:"near_ties"`
		Entropy      float64
		MeanAccuracy float64 `json:"accuracy_mean_of_micro_batches"`
	}
}

// microBatches are the samples of a step as the golden takes them: in order,
// going round.
func (g *goldenTraining) microBatches(step int) [][]int {
	var runs [][]int
	next := step * g.Accumulation * g.MicroBatch
	for range g.Accumulation {
		var run []int
		for range g.MicroBatch {
			run = append(run, next%g.Samples)
			next++
		}
		runs = append(runs, run)
	}
	return runs
}

func TestGoldenTraining(t *testing.T) {
	var g goldenTraining
	if err := json.Unmarshal(golden.Read(t, "model/train.json"), &g); err != nil {
		t.Fatal(err)
	}
	samples := goldenSamples(t, g.Samples)
	settings := Settings{
		BatchSize: g.Accumulation * g.MicroBatch, MicroBatchTokens: 1 << 10, MaxGradNorm: g.MaxGradNorm,
		Schedule: optim.Schedule{Kind: optim.Linear, Peak: g.LearningRate, Warmup: g.WarmupSteps, Horizon: len(g.Steps)},
		AdamW:    optim.Settings{Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps, WeightDecay: g.WeightDecay},
	}
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		m, err := mistral.Load(b, golden.Path(t, "model/"+g.Base))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		a := goldenAdapter(t, m, g.Init)
		trainer, err := New(m, a, samples, nil, settings)
		if err != nil {
			t.Fatal(err)
		}
		defer trainer.Free()
		for i, want := range g.Steps {
			got, err := trainer.step(context.Background(), g.microBatches(i))
			if err != nil {
				t.Fatal(err)
			}
			at := fmt.Sprintf("step %d: ", i+1)
			ties := float64(want.NearTies) / float64(want.Supervised)
			near(t, at+"learning rate", got.LearningRate, want.LearningRate, 1e-12)
			near(t, at+"supervised", float64(got.Supervised), float64(want.Supervised), 0)
			near(t, at+"loss", got.Loss, want.Loss, 1e-4)
			near(t, at+"grad_norm", got.GradNorm, want.GradNorm, 1e-4*want.GradNorm)
			near(t, at+"accuracy", got.Accuracy, want.Accuracy, ties+1e-12)
			near(t, at+"mean accuracy", got.MeanTokenAccuracy, want.MeanAccuracy, float64(want.NearTies)+1e-12)
			near(t, at+"entropy", got.Entropy, want.Entropy, 1e-4)
		}
		checkFinal(t, a, goldenAdapter(t, m, g.Final))
	})
}

func goldenSamples(t *testing.T, n int) []Sample {
	t.Helper()
	f, err := safetensors.Open(golden.Path(t, "model/train.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	samples := make([]Sample, n)
	for i := range samples {
		ids, err := f.Int64s(fmt.Sprintf("sample%d.input_ids", i))
		if err != nil {
			t.Fatal(err)
		}
		labels, err := f.Int64s(fmt.Sprintf("sample%d.labels", i))
		if err != nil {
			t.Fatal(err)
		}
		for j, id := range ids {
			samples[i].IDs = append(samples[i].IDs, int32(id))
			samples[i].IsTarget = append(samples[i].IsTarget, labels[j] != -100)
		}
	}
	return samples
}

func goldenAdapter(t *testing.T, m *mistral.Model, name string) *lora.Adapter {
	t.Helper()
	a, err := lora.Read(m.Backend(), m.Config.Base(), golden.Path(t, "model/"+name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Free)
	return a
}

// checkFinal compares each tensor of two adapters, 1e-3 relative in L2.
func checkFinal(t *testing.T, a, final *lora.Adapter) {
	t.Helper()
	got, want := a.Snapshot(), final.Snapshot()
	a.Tensors(func(name string, shape [2]int, offset int) {
		var difference, size float64
		for i := offset; i < offset+shape[0]*shape[1]; i++ {
			difference += math.Pow(float64(got[i])-float64(want[i]), 2)
			size += math.Pow(float64(want[i]), 2)
		}
		if !(math.Sqrt(difference) <= 1e-3*math.Sqrt(size)) {
			t.Errorf("%s is off by %g of its norm, allowed 1e-3", name, math.Sqrt(difference/size))
		}
	})
}
