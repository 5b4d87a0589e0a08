package cpu

import (
	"testing"

	"pipe/runtime/ops"
	"pipe/runtime/ops/opstest"
)

// Every tier is run where the processor has it, so that one machine with AVX-512
// tests them all.
func TestOps(t *testing.T) {
	for _, tier := range []string{"avx512", "avx2", "go"} {
		t.Run(tier, func(t *testing.T) {
			needTier(t, tier)
			opstest.Run(t, func(workers int) ops.Backend {
				b, err := Open(tier, workers)
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		})
	}
}

func needTier(t testing.TB, tier string) *Backend {
	b, err := Open(tier, 1)
	if err != nil {
		t.Skipf("not on this processor: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}
