package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pipe/runtime/ops"
)

func eachTier(t *testing.T, f func(t *testing.T, k *kernels)) {
	for _, k := range tiers() {
		t.Run(k.tier, func(t *testing.T) { f(t, k) })
	}
}

// noise returns n normal numbers in memory like that of a buffer.
func noise(n int) []float32 {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	x := aligned(n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// Every tile gives every element the same bits: those of the tile of one row.
func TestTilesAgree(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		for _, depth := range []int{0, 1, 2, 3, 4, 5, 7, 8, 64, 101} {
			for width, tiles := range map[int][]tile{kr.nr: kr.full, kr.narrow: kr.half} {
				ldb, ldc := width+5, width+3
				b, a := noise(depth*ldb+width), noise(kr.mr*depth)
				for rows := 1; rows <= kr.mr; rows++ {
					panel := aligned(rows * depth)
					for r := range rows {
						for k := range depth {
							panel[k*rows+r] = a[r*depth+k]
						}
					}
					for add := range 2 {
						got := noise(rows * ldc)
						want := slices.Clone(got)
						tiles[rows](depth, pointer(panel), &b[0], ldb, &got[0], ldc, add)
						for r := range rows {
							var one [32]float32
							kr.half[1](depth, pointer(a[r*depth:][:depth]), &b[0], ldb, &one[0], kr.narrow, 0)
							if width > kr.narrow {
								kr.half[1](depth, pointer(a[r*depth:][:depth]), &b[kr.narrow], ldb, &one[kr.narrow], kr.narrow, 0)
							}
							for c := range width {
								if add == 0 {
									want[r*ldc+c] = 0
								}
								want[r*ldc+c] += one[c]
							}
						}
						if !slices.Equal(got, want) {
							t.Fatalf("%dx%d, k %d, add %d: differs from single rows, or writes outside of the tile", rows, width, depth, add)
						}
					}
				}
			}
		}
	})
}

// pointer is &x[0], which an empty slice does not have.
func pointer(x []float32) *float32 {
	if len(x) == 0 {
		return new(float32)
	}
	return &x[0]
}

func TestTileIsAProduct(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		const depth = 300
		a, b, c := noise(kr.mr*depth), noise(depth*kr.nr), aligned(kr.mr*kr.nr)
		kr.full[kr.mr](depth, &a[0], &b[0], kr.nr, &c[0], kr.nr, 0)
		for r := range kr.mr {
			for j := range kr.nr {
				var want float64
				for k := range depth {
					want += float64(a[k*kr.mr+r]) * float64(b[k*kr.nr+j])
				}
				if got := float64(c[r*kr.nr+j]); math.Abs(got-want) > 1e-4 {
					t.Fatalf("[%d][%d]: got %v, want %v", r, j, got, want)
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		for rows := 0; rows <= kr.lanes; rows++ {
			for _, depth := range []int{1, 2, kr.lanes - 1, kr.lanes, kr.lanes + 1, 3*kr.lanes + 2} {
				for _, stride := range []int{max(rows, 1), kr.lanes, 2*kr.lanes + 1} {
					ld := depth + 3
					src, dst := noise(kr.lanes*ld), aligned(depth*stride+kr.lanes)
					kr.transpose(&dst[0], stride, &src[0], ld, rows, depth)
					for i := range depth {
						for r := range min(stride, kr.lanes) {
							want := float32(0)
							if r < rows {
								want = src[r*ld+i]
							}
							if r >= rows && stride == max(rows, 1) {
								continue
							}
							if got := dst[i*stride+r]; got != want {
								t.Fatalf("%d rows, k %d, stride %d: [%d][%d]: got %v, want %v", rows, depth, stride, i, r, got, want)
							}
						}
					}
				}
			}
		}
	})
}

// Packed NF4 weights are those of the specification, bit for bit, wherever the
// panel lies and whether or not rows are whole blocks.
func TestNF4PanelsAreExact(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		w := &worker{tables: aligned(16 * kr.lanes)}
		for _, shape := range [][2]int{{64, 64}, {40, 128}, {33, 192}, {37, 70}, {5, 1}, {70, 101}} {
			out, in := shape[0], shape[1]
			for _, round := range []bool{false, true} {
				codes := make([]uint8, (out*in+1)/2+64)
				for i := range codes {
					codes[i] = uint8(i*37 + i>>3)
				}
				absmax := noise((out*in + 63) / 64)
				if len(absmax) > 3 { // what must survive rounding
					absmax[1], absmax[2], absmax[3] = float32(math.NaN()), float32(math.Inf(1)), 0x1.01p0
				}
				want := make([]float32, out*in)
				for r := range out {
					ops.DequantizeRow(want[r*in:], codes, absmax, r, in, round)
				}
				forward := matrix{ld: in, transposed: true, codes: codes, absmax: absmax, round: round}
				backward := forward
				backward.transposed = false
				checkPanels(t, kr, w, &forward, in, out, func(k, j int) float32 { return want[j*in+k] })
				checkPanels(t, kr, w, &backward, out, in, func(k, j int) float32 { return want[k*in+j] })
				dense := matrix{ld: in, transposed: true, values: append(want, make([]float32, slack)...)}
				checkPanels(t, kr, w, &dense, in, out, func(k, j int) float32 { return want[j*in+k] })
				dense.transposed = false
				checkPanels(t, kr, w, &dense, out, in, func(k, j int) float32 { return want[k*in+j] })
			}
		}
	})
}

func checkPanels(t *testing.T, kr *kernels, w *worker, m *matrix, k, n int, want func(k, j int) float32) {
	t.Helper()
	const step = 128 // a stand-in for kc
	for j := 0; j < n; j += kr.nr {
		columns := min(kr.nr, n-j)
		width, _ := kr.panel(columns)
		for from := 0; from < k; from += step {
			rows := min(step, k-from)
			dst := aligned(rows * width)
			kr.pack(m, w, dst, width, from, rows, j, columns)
			for i := range rows {
				for c := range width {
					v := float32(0)
					if c < columns {
						v = want(from+i, j+c)
					}
					if got := dst[i*width+c]; math.Float32bits(got) != math.Float32bits(v) && (got == got || v == v) {
						t.Fatalf("transposed %v, row of %d, round %v: B[%d][%d]: got %v, want %v", m.transposed, m.ld, m.round, from+i, j+c, got, v)
					}
				}
			}
		}
	}
}

func TestExpIsAccurate(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		const n = 1 << 16
		x, y := aligned(n), aligned(n)
		for i := range x {
			x[i] = -87.3 + 175.6*float32(i)/n
		}
		kr.exp(y, x)
		worst := 0.0
		for i := range x {
			want := math.Exp(float64(x[i]))
			ulp := float64(math.Nextafter32(float32(want), 1e38) - float32(want))
			worst = max(worst, math.Abs(float64(y[i])-want)/ulp)
		}
		t.Logf("at most %.2f units in the last place", worst)
		if worst > 2 {
			t.Errorf("off by %.2f units in the last place", worst)
		}
	})
}

func TestExpFarOut(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachTier(t, func(t *testing.T, kr *kernels) {
		for _, test := range []struct{ x, low, high float32 }{
			{0, 1, 1}, {-inf, 0, 0}, {-1e30, 0, 0}, {-104, 0, 0}, {-88, 0, 0}, {89, 1e38, inf}, {inf, 1e38, inf}, {1e30, 1e38, inf},
		} {
			for _, n := range []int{1, 16, 37} { // rest, whole vector, both
				x := aligned(n)
				for i := range x {
					x[i] = test.x
				}
				kr.exp(x, x)
				for i, y := range x {
					if y < test.low || y > test.high {
						t.Errorf("exp(%v)[%d] of %d: got %v, want %v to %v", test.x, i, n, y, test.low, test.high)
					}
				}
			}
		}
		x := []float32{nan, 0, nan, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, nan}
		kr.exp(x, x)
		for i, y := range x {
			if (i == 0 || i == 2 || i == 16) != (y != y) {
				t.Errorf("[%d]: got %v", i, y)
			}
		}
	})
}

func TestLogIsAccurate(t *testing.T) {
	for i := range 100000 {
		x := float32(math.Exp(float64(i)/1000 - 40))
		if got, want := log(x), math.Log(float64(x)); math.Abs(got-want) > 1e-13*max(1, math.Abs(want)) {
			t.Fatalf("log(%v): got %v, want %v", x, got, want)
		}
	}
	if got := log(1); got != 0 {
		t.Errorf("log(1): got %v", got)
	}
	for _, x := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		if got := log(x); got-got == 0 {
			t.Errorf("log(%v): got %v, want a number that is not finite", x, got)
		}
	}
}

func TestDropoutIsThatOfOps(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		for _, p := range []float32{1e-8, 0x1p-24, 0.05, 0.1, 0.5, 1.0 / 3, 0.999, 1 - 0x1p-24} {
			for _, n := range []int{1, 8, 15, 16, 33, 257} {
				d := newDropout(ops.Dropout{P: p, Seed: 0xfeedfacecafebeef * uint64(n), FirstRow: n * 1e6})
				src, dst := noise(n), aligned(n)
				const row, column = 77, 1000
				d.apply(kr, dst, src, row, column)
				for i, v := range src {
					want := v * (1 / (1 - p))
					if ops.Dropped(d.seed, d.firstRow+row, column+i, p) {
						want = 0
					}
					if dst[i] != want {
						t.Fatalf("p %v, element %d of %d: got %v, want %v", p, i, n, dst[i], want)
					}
				}
			}
		}
	})
}

// The reductions of a tier against float64, at every length of the rest.
func TestReductions(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		for n := 1; n < 150; n++ {
			a, b, c := noise(n), noise(n + 1)[1:], noise(n + 2)[2:]
			var dot, dot3 float64
			highest := float32(math.Inf(-1))
			for i := range a {
				dot += float64(a[i]) * float64(b[i])
				dot3 += float64(a[i]) * float64(b[i]) * float64(c[i])
				highest = max(highest, a[i])
			}
			if got := kr.dot(a, b); math.Abs(float64(got)-dot) > 1e-4 {
				t.Fatalf("dot of %d: got %v, want %v", n, got, dot)
			}
			if got := kr.dot3(a, b, c); math.Abs(float64(got)-dot3) > 1e-4 {
				t.Fatalf("dot3 of %d: got %v, want %v", n, got, dot3)
			}
			if got := kr.max(a); got != highest {
				t.Fatalf("max of %d: got %v, want %v", n, got, highest)
			}
			for i := range a {
				a[i] -= 100
			}
			if got := kr.max(a); got != highest-100 {
				t.Fatalf("max of %d negative numbers: got %v, want %v", n, got, highest-100)
			}
		}
	})
}

// The dispatcher must ask for everything that the generated code says it needs.
func TestTiersAskForWhatTheyUse(t *testing.T) {
	implied := map[string]string{ // by the features that tiers names
		"AVX": "AVX2", "SSE": "AVX2", "SSE2": "AVX2", "MMX+": "AVX2", "BMI2": "BMI2", "FMA3": "FMA", "AVX2": "AVX2",
		"AVX512F": "AVX512F", "AVX512BW": "AVX512BW", "AVX512DQ": "AVX512DQ", "AVX512VL": "AVX512VL",
	}
	dispatcher, err := os.ReadFile("tiers_amd64.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"avx512_amd64.s", "avx2_amd64.s"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^// Requires: (.*)$`).FindAllStringSubmatch(string(text), -1) {
			for feature := range strings.SplitSeq(line[1], ", ") {
				if file == "avx2_amd64.s" && strings.HasPrefix(feature, "AVX512") {
					t.Errorf("%s uses %s", file, feature)
				}
				if name := implied[feature]; name == "" || !strings.Contains(string(dispatcher), "x.Has"+name) {
					t.Errorf("%s uses %s, which tiers does not ask for", file, feature)
				}
			}
		}
	}
}

// What attention must not read: a later position that is not finite.
func TestLaterPositionsDoNotLeak(t *testing.T) {
	eachTier(t, func(t *testing.T, kr *kernels) {
		b := open(kr, 2)
		defer b.Close()
		const rows, dim = 70, 32
		for _, window := range []int{0, 9} {
			s := ops.AttentionShape{Heads: 2, KVHeads: 1, HeadDim: dim, Window: window, Starts: []int32{0, rows}}
			q, k, v := noise(rows*2*dim), noise(rows*dim), slices.Clone(noise(rows*dim))
			attend := func() []float32 {
				out, result := zeros(b, len(q)), make([]float32, len(q))
				b.Attention(out, nil, upload(b, q), upload(b, k), upload(b, v), s)
				b.Download(result, out)
				return result
			}
			want := attend()
			const bad = 20
			v[bad*dim+3], v[bad*dim+30] = float32(math.NaN()), float32(math.Inf(1))
			got := attend()
			for r := range rows {
				sees := r >= bad && (window == 0 || r < bad+window)
				if same := slices.Equal(got[r*2*dim:][:2*dim], want[r*2*dim:][:2*dim]); same == sees {
					t.Errorf("window %d: row %d sees row %d: %v, but its bits are the same: %v", window, r, bad, sees, same)
				}
			}
		}
	})
}

func ExampleOpen() {
	b, err := Open("go", 2)
	if err != nil {
		panic(err)
	}
	defer b.Close()
	x, _ := b.Alloc(ops.Float32, 3)
	b.Fill(x, 1.5)
	b.Scale(x, 2)
	values := make([]float32, 3)
	b.Download(values, x)
	fmt.Println(b.Tier(), values)
	// Output: go [3 3 3]
}
