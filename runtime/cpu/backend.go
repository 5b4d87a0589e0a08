package cpu

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"pipe/runtime/ops"
)

// TierVariable is the environment variable that Open takes a tier from: avx512,
// avx2 or go. Where a processor runs AVX-512 at half speed, avx2 may be faster.
const TierVariable = "PIPE_CPU"

// Backend computes on the processor. Its operations are done when they return.
type Backend struct {
	*kernels
	pool pool

	// Work in progress, one struct for each kind of job, kept for its scratch
	// memory and so that a call allocates nothing.
	product   product
	low       lowRank
	grad      rankGrad
	rows      rowJob
	elements  elementJob
	copies    copyJob
	loss      lossJob
	attention attentionJob
	backward  attentionGradJob
	cached    cachedJob
}

var _ ops.Backend = (*Backend)(nil)

// New returns a backend with the fastest tier that this processor has. Work is
// spread over the given number of workers, or over GOMAXPROCS of them if that is
// not positive. Close it to end them.
func New(workers int) *Backend { return open(tiers()[0], workers) }

// Open is New with a tier by name: "avx512", "avx2" or "go". For "" it takes the
// one that the environment variable PIPE_CPU names, or else the fastest. A tier
// that does not exist, or that this processor lacks, is an error.
func Open(tier string, workers int) (*Backend, error) {
	source := "tier"
	if tier == "" {
		tier, source = os.Getenv(TierVariable), TierVariable
	}
	if tier == "" {
		return New(workers), nil
	}
	var have []string
	for _, k := range tiers() {
		if k.tier == tier {
			return open(k, workers), nil
		}
		have = append(have, k.tier)
	}
	return nil, fmt.Errorf("%s %q: this processor has %s", source, tier, strings.Join(have, ", "))
}

// Tiers lists what Open takes on this processor, fastest first.
func Tiers() []string {
	var names []string
	for _, k := range tiers() {
		names = append(names, k.tier)
	}
	return names
}

func open(k *kernels, workers int) *Backend {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	b := &Backend{kernels: k}
	b.product.kernels, b.product.pool = k, &b.pool
	b.grad.kernels, b.grad.pool = k, &b.pool
	b.rows.Backend, b.elements.Backend, b.copies.Backend, b.loss.Backend = b, b, b, b
	b.attention.Backend, b.backward.Backend, b.cached.Backend = b, b, b
	b.pool.start(workers, k)
	return b
}

// Name is "cpu".
func (*Backend) Name() string { return "cpu" }

// Tier is "avx512", "avx2" or "go".
func (b *Backend) Tier() string { return b.tier }

// Close ends the workers. The backend must not be used after it.
func (b *Backend) Close() { b.pool.close() }

// grow returns a slice of n float32 of any content, which is *memory if that is
// long enough.
func grow(memory *[]float32, n int) []float32 {
	if len(*memory) < n {
		*memory = aligned(n)
	}
	return (*memory)[:n]
}
