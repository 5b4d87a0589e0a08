package opstest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"

	"pipe/runtime/ops"
)

// Run holds the backend that open returns, for any number of workers, to
// ops.Reference and to the laws of ops. It closes what it opened.
func Run(t *testing.T, open func(workers int) ops.Backend) {
	backends := make([]ops.Backend, len(workers))
	for i, n := range workers {
		backends[i] = open(n)
	}
	defer func() {
		for _, b := range backends {
			b.Close()
		}
	}()
	if missing := uncovered(); len(missing) > 0 {
		t.Errorf("no case for %s", strings.Join(missing, ", "))
	}
	for _, c := range cases() {
		t.Run(c.op+"/"+c.name, func(t *testing.T) {
			if err := c.hold(backends); err != nil {
				t.Error(err)
			}
		})
	}
}

// uncovered lists the methods of ops.Backend that no case is about.
func uncovered() []string {
	covered := map[string]bool{}
	for _, c := range cases() {
		covered[c.op] = true
	}
	var missing []string
	backend := reflect.TypeFor[ops.Backend]()
	for i := range backend.NumMethod() {
		if name := backend.Method(i).Name; !covered[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// testCase is one call, or a few, of an operation. compute is run on the
// reference and on every backend, each time with the same random numbers.
type testCase struct {
	op, name string
	compute  func(m *machine)
}

// result is what compute says that an operation has written.
type result struct {
	name   string
	values []float32
	exact  bool
}

// hold runs the case and returns what is wrong with the backends.
func (c testCase) hold(backends []ops.Backend) error {
	var first []result
	for i, b := range backends {
		m := c.on(b)
		if len(m.faults) > 0 {
			return errors.Join(m.faults...)
		}
		if err := b.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		if i == 0 {
			first = m.results
			if err := c.near(first, c.reference(), b.Tier()); err != nil {
				return err
			}
			continue
		}
		for k, r := range m.results {
			if at := difference(r.values, first[k].values); at >= 0 {
				return fmt.Errorf("law 1: %s[%d]: got %v with %d workers, %v with %d",
					r.name, at, r.values[at], workers[i], first[k].values[at], workers[0])
			}
		}
	}
	return nil
}

func (c testCase) on(b ops.Backend) *machine {
	m := newMachine(b, c.op+"/"+c.name)
	c.compute(m)
	m.free()
	return m
}

// references keeps the reference's results: they are the same for every backend
// of a test binary, and slow.
var references sync.Map

func (c testCase) reference() []result {
	key := c.op + "/" + c.name
	if r, ok := references.Load(key); ok {
		return r.([]result)
	}
	m := c.on(ops.NewReference())
	if len(m.faults) > 0 {
		panic(fmt.Sprintf("internal error: opstest: reference: %v", errors.Join(m.faults...)))
	}
	references.Store(key, m.results)
	return m.results
}

// near holds results to those wanted.
func (c testCase) near(got, want []result, tier string) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d results, want %d", len(got), len(want))
	}
	allowed := toleranceOf(c.op, tier)
	for k, w := range want {
		if len(got[k].values) != len(w.values) {
			return fmt.Errorf("%s: got %d values, want %d", w.name, len(got[k].values), len(w.values))
		}
		tol := allowed
		if w.exact {
			tol = tolerance{}
		}
		rms := rootMeanSquare(w.values)
		for i, v := range w.values {
			g, v := float64(got[k].values[i]), float64(v)
			switch off := math.Abs(g - v); {
			case math.IsNaN(v) && math.IsNaN(g), g == v:
			case off <= tol.relative*math.Abs(v)+tol.spread*rms+tol.absolute:
			default:
				return fmt.Errorf("%s[%d] of %d: got %v, want %v (off by %.3g, root mean square %.3g)", w.name, i, len(w.values), g, v, off, rms)
			}
		}
	}
	return nil
}

func rootMeanSquare(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / max(1, float64(len(x))))
}

// difference is the index of the first value whose bits differ, or -1.
func difference(a, b []float32) int {
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// tolerance is how far a value may be off: see the package comment.
type tolerance struct{ relative, spread, absolute float64 }

var tolerances = map[string]struct{ float32, bf16 tolerance }{
	"Linear":            {tolerance{1e-5, 1e-5, 0}, tolerance{1e-5, 2e-2, 0}},
	"LinearBackward":    {tolerance{1e-5, 1e-5, 0}, tolerance{1e-5, 2e-2, 0}},
	"Attention":         {tolerance{1e-5, 1e-5, 0}, tolerance{1e-5, 2e-2, 0}},
	"AttentionCached":   {tolerance{1e-5, 1e-5, 0}, tolerance{1e-5, 2e-2, 0}},
	"CacheWrite":        {tolerance{1e-5, 1e-5, 0}, tolerance{1e-5, 2e-2, 0}},
	"AttentionBackward": {tolerance{1e-5, 2e-5, 2e-5}, tolerance{1e-5, 3e-2, 3e-2}},
	"CrossEntropy":      {tolerance{1e-5, 2e-5, 0}, tolerance{1e-5, 2e-2, 0}},
	"RMSNorm":           {tolerance{1e-5, 2e-6, 0}, tolerance{1e-5, 2e-6, 0}},
	"RMSNormBackward":   {tolerance{1e-5, 2e-6, 0}, tolerance{1e-5, 2e-6, 0}},
	"Rope":              {tolerance{1e-5, 2e-6, 0}, tolerance{1e-5, 2e-6, 0}},
	"SwiGLU":            {tolerance{1e-5, 2e-6, 0}, tolerance{1e-5, 2e-6, 0}},
	"SwiGLUBackward":    {tolerance{1e-5, 2e-6, 0}, tolerance{1e-5, 2e-6, 0}},
	"SquaredNorm":       {tolerance{1e-5, 0, 0}, tolerance{1e-5, 0, 0}},
	"AdamW":             {tolerance{1e-6, 1e-6, 0}, tolerance{1e-6, 1e-6, 0}},
	"Add":               {tolerance{1e-6, 0, 0}, tolerance{1e-6, 0, 0}},
	"Scale":             {tolerance{1e-6, 0, 0}, tolerance{1e-6, 0, 0}},
}

func toleranceOf(op, tier string) tolerance {
	t := tolerances[op]
	if strings.HasSuffix(tier, "bf16") {
		return t.bf16
	}
	return t.float32
}
