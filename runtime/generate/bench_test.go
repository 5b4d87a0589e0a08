package generate

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"pipe/runtime/cpu"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/nf4"
	"pipe/runtime/safetensors"
)

// BenchmarkSweep answers the prompts of a checkpoint's sweep, 160 of 26 tokens with
// 20 tokens each; BenchmarkChat one.
func BenchmarkSweep(b *testing.B) { benchmark(b, 160, 32, 64, 128) }
func BenchmarkChat(b *testing.B)  { benchmark(b, 1, 1) }

func benchmark(b *testing.B, prompts int, slotCounts ...int) {
	dir := mistraltest.Quantize(b, filepath.Join("..", "..", "models", "tiny-mistral"), safetensors.BF16, nf4.Options{Double: true})
	var asked [][]int32
	for i := range prompts {
		ids := []int32{1}
		for j := range 25 {
			ids = append(ids, int32(3+(i*131+j*j*17+j*5)%2000))
		}
		asked = append(asked, ids)
	}
	for _, tier := range cpu.Tiers() {
		for _, slots := range slotCounts {
			b.Run(fmt.Sprintf("%s/slots=%d", tier, slots), func(b *testing.B) {
				backend := openTier(b, tier, 2)
				m, err := mistral.Load(backend, dir)
				if err != nil {
					b.Fatal(err)
				}
				a, err := lora.New(backend, m.Config.Base(), lora.Config{Rank: 16, Alpha: 32}, 1)
				if err != nil {
					b.Fatal(err)
				}
				g := newGenerator(b, m, slots, 128)
				tokens := 0
				b.ReportAllocs()
				for b.Loop() {
					answers, err := g.Generate(context.Background(), asked, a, Options{MaxNewTokens: 20})
					if err != nil {
						b.Fatal(err)
					}
					for _, answer := range answers {
						tokens += len(answer.IDs)
					}
				}
				b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}
