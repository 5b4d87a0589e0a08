package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pipe/runtime/ops"
)

// The layers of the tiny model, as (Out, In), and one of Mistral 7B.
var benchShapes = [][2]int{{256, 256}, {704, 256}, {256, 704}, {2048, 256}, {4096, 4096}}

func benchTiers(b *testing.B, f func(b *testing.B, cpu *Backend)) {
	for _, tier := range Tiers() {
		b.Run(tier, func(b *testing.B) {
			cpu, err := Open(tier, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer cpu.Close()
			f(b, cpu)
		})
	}
}

// measure runs f b.N times and reports how much work it does, in units of 10⁹ a
// second. Operations are short beside the pauses of a shared machine, so the
// figure is that of the fastest call.
func measure(b *testing.B, work float64, unit string, f func()) {
	b.Helper()
	f()
	b.ReportAllocs()
	best := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(work/float64(best.Nanoseconds()), unit)
}

// random returns numbers of deviation 1, the same on every architecture.
func random(b *Backend, n int) ops.Buf {
	x := make([]float32, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range x {
		x[i] = (r.Float32() - 0.5) * 3.4641
	}
	return upload(b, x)
}

func upload(b *Backend, x []float32) ops.Buf {
	buf, _ := b.Alloc(ops.Float32, len(x))
	b.Upload(buf, x)
	return buf
}

func zeros(b *Backend, n int) ops.Buf {
	buf, _ := b.Alloc(ops.Float32, n)
	return buf
}

func randomWeight(b *Backend, out, in int, nf4 bool) ops.Weight {
	w := ops.Weight{Out: out, In: in}
	if !nf4 {
		w.Dense = random(b, out*in)
		return w
	}
	codes := make([]uint8, (out*in+1)/2)
	r := rand.New(rand.NewPCG(uint64(out), uint64(in)))
	for i := range codes {
		codes[i] = uint8(r.Uint32())
	}
	w.Codes, _ = b.Alloc(ops.Uint8, len(codes))
	b.Upload(w.Codes, codes)
	w.Absmax = random(b, (out*in+63)/64)
	return w
}

func randomLoRA(b *Backend, rows, out, in, rank int, dropout float32) *ops.LoRA {
	return &ops.LoRA{Rank: rank, Scale: 1, A: random(b, rank*in), B: random(b, out*rank), U: zeros(b, rows*rank),
		GradA: zeros(b, rank*in), GradB: zeros(b, out*rank), Dropout: ops.Dropout{P: dropout, Seed: 1}}
}

// BenchmarkLinear is the matrix product, of both directions and kinds of weight.
func BenchmarkLinear(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		for _, shape := range benchShapes {
			for _, kind := range []string{"dense", "nf4"} {
				out, in := shape[0], shape[1]
				w := randomWeight(cpu, out, in, kind == "nf4")
				for _, rows := range []int{1, 8, 64, 330, 1024} {
					if cpu.Tier() == "go" && rows*out > 1<<20 {
						continue
					}
					x, y := random(cpu, rows*in), random(cpu, rows*out)
					flops := 2 * float64(rows) * float64(out) * float64(in)
					name := fmt.Sprintf("%dx%d/%s/rows=%d", out, in, kind, rows)
					b.Run(name+"/forward", func(b *testing.B) {
						measure(b, flops, "GFLOP/s", func() { cpu.Linear(y, x, rows, w, nil) })
					})
					b.Run(name+"/backward", func(b *testing.B) {
						measure(b, flops, "GFLOP/s", func() { cpu.LinearBackward(x, y, nil, rows, w, nil, false) })
					})
				}
			}
		}
	})
}

// BenchmarkLoRA is a linear layer with a path of rank 16; the figure counts both.
func BenchmarkLoRA(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		for _, shape := range benchShapes[:3] {
			for _, dropout := range []float32{0, 0.1} {
				const rows, rank = 330, 16
				out, in := shape[0], shape[1]
				w, l := randomWeight(cpu, out, in, true), randomLoRA(cpu, rows, out, in, rank, dropout)
				x, y, dx := random(cpu, rows*in), random(cpu, rows*out), random(cpu, rows*in)
				flops := 2 * float64(rows) * float64(out*in+rank*(out+in))
				name := fmt.Sprintf("%dx%d/dropout=%v", out, in, dropout)
				b.Run(name+"/forward", func(b *testing.B) {
					measure(b, flops, "GFLOP/s", func() { cpu.Linear(y, x, rows, w, l) })
				})
				flops += 2 * rows * float64(rank*(out+in))
				b.Run(name+"/backward", func(b *testing.B) {
					measure(b, flops, "GFLOP/s", func() { cpu.LinearBackward(dx, y, x, rows, w, l, false) })
				})
			}
		}
	})
}

func BenchmarkExp(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		x, y := make([]float32, 4096), make([]float32, 4096)
		for i := range x {
			x[i] = -float32(i%64) / 4
		}
		measure(b, float64(len(x)), "Gelem/s", func() { cpu.exp(y, x) })
	})
}

func BenchmarkElements(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		const rows, width = 330, 704
		n := rows * width
		x, y, z, u, v := random(cpu, n), random(cpu, n), random(cpu, n), random(cpu, n), random(cpu, n)
		weight, norm := random(cpu, width), zeros(cpu, 1)
		run := func(name string, f func()) {
			b.Run(name, func(b *testing.B) { measure(b, float64(n), "Gelem/s", f) })
		}
		run("SwiGLU", func() { cpu.SwiGLU(x, y, z) })
		run("SwiGLUBackward", func() { cpu.SwiGLUBackward(x, u, v, y, z) })
		run("RMSNorm", func() { cpu.RMSNorm(x, y, weight, rows, width, 1e-5) })
		run("RMSNormBackward", func() { cpu.RMSNormBackward(x, u, v, weight, rows, width, 1e-5) })
		run("Add", func() { cpu.Add(u, v) })
		run("SquaredNorm", func() { cpu.SquaredNorm(norm, y) })
		run("AdamW", func() {
			cpu.AdamW(x, y, z, u, ops.AdamWStep{GradScale: 1, Decay: 1, Beta1: 0.9, Beta2: 0.999, StepSize: 1e-9, RootBias2: 1, Eps: 1e-8})
		})
		const heads, dim = 11, 64
		table, positions := random(cpu, 512*dim), zeroInts(cpu, rows)
		run("Rope", func() { cpu.Rope(y, table, positions, rows, heads, dim, false) })
	})
}

func zeroInts(b *Backend, n int) ops.Buf {
	buf, _ := b.Alloc(ops.Int32, n)
	return buf
}

// benchSamples are 8 samples of 330 rows in all.
var benchSamples = []int32{0, 30, 75, 110, 160, 190, 240, 290, benchRows}

const benchRows = 330

func BenchmarkAttention(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		for _, starts := range [][]int32{benchSamples, {0, 512}, {0, 2048}} {
			if cpu.Tier() == "go" && len(starts) == 2 && starts[1] > 512 {
				continue
			}
			s := ops.AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 64, Starts: starts}
			rows := int(starts[len(starts)-1])
			var pairs float64 // of a query and a position
			for i, end := range starts[1:] {
				n := float64(end - starts[i])
				pairs += n * (n + 1) / 2 * float64(s.Heads)
			}
			q, k, v := random(cpu, rows*256), random(cpu, rows*128), random(cpu, rows*128)
			out, stats := zeros(cpu, rows*256), zeros(cpu, rows*4)
			dq, dk, dv := zeros(cpu, rows*256), zeros(cpu, rows*128), zeros(cpu, rows*128)
			name := fmt.Sprintf("rows=%d/samples=%d", rows, len(starts)-1)
			b.Run(name+"/forward", func(b *testing.B) {
				measure(b, pairs*64*4, "GFLOP/s", func() { cpu.Attention(out, stats, q, k, v, s) })
			})
			b.Run(name+"/backward", func(b *testing.B) {
				measure(b, pairs*64*10, "GFLOP/s", func() { cpu.AttentionBackward(dq, dk, dv, q, out, stats, q, k, v, s) })
			})
		}
	})
}

func BenchmarkAttentionCached(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		const rows, length = 8, 200
		c, _ := cpu.AllocCache(rows, length, 2, 64)
		q, out := random(cpu, rows*256), zeros(cpu, rows*256)
		slots, lengths := make([]int32, rows), make([]int32, rows)
		for r := range slots {
			slots[r], lengths[r] = int32(r), length
		}
		measure(b, rows*length*256*4, "GFLOP/s", func() { cpu.AttentionCached(out, q, c, slots, lengths, 4, 0) })
	})
}

func BenchmarkCrossEntropy(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		const rows, in, v = 330, 256, 2048
		x, dx, w := random(cpu, rows*in), zeros(cpu, rows*in), randomWeight(cpu, v, in, false)
		loss, entropy, correct, targets := zeros(cpu, rows), zeros(cpu, rows), zeros(cpu, rows), zeroInts(cpu, rows)
		measure(b, 4*rows*in*v, "GFLOP/s", func() {
			cpu.CrossEntropy(dx, loss, entropy, correct, x, targets, rows, w, 1)
		})
	})
}

// BenchmarkLayer is one layer of the tiny model, forward and backward with LoRA
// on all seven linears: 330 rows in 8 samples. The figure counts products only.
func BenchmarkLayer(b *testing.B) {
	benchTiers(b, func(b *testing.B, cpu *Backend) {
		layer := newBenchLayer(cpu, benchRows)
		b.Run("forward", func(b *testing.B) { measure(b, layer.flops, "GFLOP/s", layer.forward) })
		b.Run("backward", func(b *testing.B) { measure(b, layer.flops+layer.gradFlops, "GFLOP/s", layer.backward) })
	})
}

type benchLayer struct {
	*Backend
	rows             int
	flops, gradFlops float64
	weights          [7]ops.Weight // q k v o gate up down
	loras            [7]*ops.LoRA
	s                ops.AttentionShape
	ones, table, pos ops.Buf

	x, n1, q, k, v, out, stats, o, n2, gate, up, h, y ops.Buf
	dx, dn, dq, dk, dv, dout, dgate, dup, dh, dy      ops.Buf
}

func newBenchLayer(b *Backend, rows int) *benchLayer {
	const c, kv, f = 256, 128, 704
	l := &benchLayer{Backend: b, rows: rows, s: ops.AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 64, Starts: benchSamples}}
	for i, shape := range [7][2]int{{c, c}, {kv, c}, {kv, c}, {c, c}, {f, c}, {f, c}, {c, f}} {
		out, in := shape[0], shape[1]
		l.weights[i], l.loras[i] = randomWeight(b, out, in, true), randomLoRA(b, rows, out, in, 16, 0)
		l.flops += 2 * float64(rows) * float64(out*in+16*(out+in))
		l.gradFlops += 2 * float64(rows) * 16 * float64(out+in)
	}
	l.ones, l.table, l.pos = random(b, c), random(b, 512*64), zeroInts(b, rows)
	for _, p := range []*ops.Buf{&l.x, &l.n1, &l.q, &l.out, &l.o, &l.n2, &l.y, &l.dx, &l.dn, &l.dq, &l.dout, &l.dy} {
		*p = random(b, rows*c)
	}
	for _, p := range []*ops.Buf{&l.k, &l.v, &l.dk, &l.dv} {
		*p = random(b, rows*kv)
	}
	for _, p := range []*ops.Buf{&l.gate, &l.up, &l.h, &l.dgate, &l.dup, &l.dh} {
		*p = random(b, rows*f)
	}
	l.stats = zeros(b, rows*4)
	return l
}

func (l *benchLayer) linear(y, x ops.Buf, i int) { l.Linear(y, x, l.rows, l.weights[i], l.loras[i]) }

func (l *benchLayer) forward() {
	l.RMSNorm(l.n1, l.x, l.ones, l.rows, 256, 1e-5)
	l.linear(l.q, l.n1, 0)
	l.linear(l.k, l.n1, 1)
	l.linear(l.v, l.n1, 2)
	l.Rope(l.q, l.table, l.pos, l.rows, 4, 64, false)
	l.Rope(l.k, l.table, l.pos, l.rows, 2, 64, false)
	l.Attention(l.out, l.stats, l.q, l.k, l.v, l.s)
	l.linear(l.o, l.out, 3)
	l.Add(l.o, l.x)
	l.RMSNorm(l.n2, l.o, l.ones, l.rows, 256, 1e-5)
	l.linear(l.gate, l.n2, 4)
	l.linear(l.up, l.n2, 5)
	l.SwiGLU(l.h, l.gate, l.up)
	l.linear(l.y, l.h, 6)
	l.Add(l.y, l.o)
}

func (l *benchLayer) linearBackward(dx, dy, x ops.Buf, i int, accumulate bool) {
	l.LinearBackward(dx, dy, x, l.rows, l.weights[i], l.loras[i], accumulate)
}

func (l *benchLayer) backward() {
	l.linearBackward(l.dh, l.dy, l.h, 6, false)
	l.SwiGLUBackward(l.dgate, l.dup, l.dh, l.gate, l.up)
	l.linearBackward(l.dn, l.dgate, l.n2, 4, false)
	l.linearBackward(l.dn, l.dup, l.n2, 5, true)
	l.RMSNormBackward(l.dx, l.dn, l.o, l.ones, l.rows, 256, 1e-5)
	l.linearBackward(l.dout, l.dx, l.out, 3, false)
	l.AttentionBackward(l.dq, l.dk, l.dv, l.dout, l.out, l.stats, l.q, l.k, l.v, l.s)
	l.Rope(l.dq, l.table, l.pos, l.rows, 4, 64, true)
	l.Rope(l.dk, l.table, l.pos, l.rows, 2, 64, true)
	l.linearBackward(l.dn, l.dq, l.n1, 0, false)
	l.linearBackward(l.dn, l.dk, l.n1, 1, true)
	l.linearBackward(l.dn, l.dv, l.n1, 2, true)
	l.RMSNormBackward(l.dx, l.dn, l.x, l.ones, l.rows, 256, 1e-5)
}
