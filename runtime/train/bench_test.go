package train

import (
	"context"
	"path/filepath"
	"testing"

	"pipe/runtime/cpu"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/nf4"
	"pipe/runtime/optim"
	"pipe/runtime/safetensors"
)

// BenchmarkStep is a step of the default pipeline: the tiny base in NF4, rank 16, 8
// samples of 41 tokens, of which 17 are targets.
func BenchmarkStep(b *testing.B) {
	dir := mistraltest.Quantize(b, filepath.Join("..", "..", "models", "tiny-mistral"), safetensors.BF16, nf4.Options{Double: true})
	samples := make([]Sample, 64)
	for i := range samples {
		for j := range 41 {
			samples[i].IDs = append(samples[i].IDs, int32((i*131+j*j*17+j*5)%2048))
			samples[i].IsTarget = append(samples[i].IsTarget, j >= 24)
		}
	}
	for _, tier := range cpu.Tiers() {
		b.Run(tier, func(b *testing.B) {
			backend := openTier(b, tier, 2)
			m, err := mistral.Load(backend, dir)
			if err != nil {
				b.Fatal(err)
			}
			a, err := lora.New(backend, m.Config.Base(), lora.Config{Rank: 16, Alpha: 32}, 1)
			if err != nil {
				b.Fatal(err)
			}
			trainer, err := New(m, a, samples, nil, Settings{BatchSize: 8, MicroBatchTokens: 2048, MaxGradNorm: 1, AdamW: optim.Defaults,
				Schedule: optim.Schedule{Kind: optim.Constant, Peak: 1e-3}})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			tokens := 0
			for b.Loop() {
				metrics, err := trainer.Step(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				tokens += metrics.Tokens
			}
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
