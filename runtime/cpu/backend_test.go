package cpu

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pipe/runtime/ops"
)

func TestOpenTakesTheVariable(t *testing.T) {
	t.Setenv(TierVariable, "go")
	b, err := Open("", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Tier() != "go" || b.Name() != "cpu" {
		t.Errorf("got %s %s, want cpu go", b.Name(), b.Tier())
	}
	fastest := New(1)
	defer fastest.Close()
	if fastest.Tier() != Tiers()[0] {
		t.Errorf("New: got %s, want the fastest, %s", fastest.Tier(), Tiers()[0])
	}
}

func TestOpenRefusesUnknownTiers(t *testing.T) {
	if _, err := Open("mmx", 1); err == nil || !strings.Contains(err.Error(), `tier "mmx"`) {
		t.Errorf("got %v", err)
	}
	t.Setenv(TierVariable, "sse9")
	if _, err := Open("", 1); err == nil || !strings.Contains(err.Error(), `PIPE_CPU "sse9"`) {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsTheWorkers(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		b := New(5)
		x := zeros(b, 100000)
		b.Fill(x, 1)
		b.Close()
	}
	// A goroutine counts until it has left its deferred calls behind.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestIdleWorkersSleep(t *testing.T) {
	for _, workers := range []int{2, runtime.GOMAXPROCS(0) + 1} { // patient, and not
		b := New(workers)
		defer b.Close()
		b.Fill(zeros(b, 1<<20), 1)
		deadline := time.Now().Add(10 * time.Second)
		for _, w := range b.pool.workers[1:] {
			for !w.asleep.Load() {
				if time.Now().After(deadline) {
					t.Fatalf("one of %d workers does not sleep", workers)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
}

// countJob counts how often each task is done.
type countJob struct{ done []atomic.Int32 }

func (j *countJob) do(_ *worker, task int) { j.done[task].Add(1) }

func TestPoolDoesEveryTaskOnce(t *testing.T) {
	b := New(4)
	defer b.Close()
	for i := range 3000 {
		j := &countJob{done: make([]atomic.Int32, i%97)}
		b.pool.run(j, len(j.done))
		for task := range j.done {
			if n := j.done[task].Load(); n != 1 {
				t.Fatalf("job %d: task %d of %d was done %d times", i, task, len(j.done), n)
			}
		}
		if i%500 == 0 {
			time.Sleep(time.Millisecond) // let them fall asleep
		}
	}
}

// Operations of a training step and of generation, again and again.
func TestNoOperationAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	eachTier(t, func(t *testing.T, kr *kernels) {
		b := open(kr, 2)
		defer b.Close()
		layer := newBenchLayer(b, benchRows)
		const v = 300
		w := randomWeight(b, v, 256, false)
		loss, targets, ids, logits := zeros(b, benchRows), zeroInts(b, benchRows), zeroInts(b, 8), zeros(b, 8*v)
		c, _ := b.AllocCache(8, 64, 2, 64)
		slots, lengths := []int32{0, 1, 2, 3, 4, 5, 6, 7}, []int32{1, 1, 1, 1, 1, 1, 1, 1}
		moments := [2]ops.Buf{zeros(b, benchRows*256), zeros(b, benchRows*256)}
		step := func() {
			layer.forward()
			b.CrossEntropy(layer.dy, loss, loss, loss, layer.y, targets, benchRows, w, 1)
			layer.backward()
			b.SquaredNorm(loss, layer.dx)
			b.AdamW(layer.x, layer.dx, moments[0], moments[1], ops.AdamWStep{Decay: 1, RootBias2: 1, Eps: 1})
			b.Embed(layer.q, layer.x, ids, 256)
			b.CacheWrite(c, layer.k, layer.v, slots, lengths)
			b.AttentionCached(layer.out, layer.q, c, slots, lengths, 4, 0)
			b.Linear(logits, layer.x, 8, w, nil)
			b.Argmax(ids, logits, 8, v)
			b.Fill(layer.dx, 0)
			b.Scale(layer.dx, 1)
		}
		// Scratch grows where tasks happen to go, so a few calls may still allocate.
		step()
		if n := testing.AllocsPerRun(10, step); n != 0 {
			t.Errorf("got %v allocations in a step, want 0", n)
		}
	})
}

func TestWrongLengthsPanic(t *testing.T) {
	b := New(1)
	defer b.Close()
	x, i := zeros(b, 10), zeroInts(b, 10)
	w := ops.Weight{Out: 2, In: 5, Dense: x}
	foreign, _ := ops.NewReference().Alloc(ops.Float32, 10)
	for name, f := range map[string]func(){
		"upload of another length": func() { b.Upload(x, make([]float32, 9)) },
		"upload of another type":   func() { b.Upload(x, make([]int32, 10)) },
		"download of another type": func() { b.Download(make([]uint8, 10), x) },
		"short y":                  func() { b.Linear(zeros(b, 3), x, 2, w, nil) },
		"short weight":             func() { b.Linear(x, x, 1, ops.Weight{Out: 10, In: 10, Dense: x}, nil) },
		"ints for floats":          func() { b.Add(x, i) },
		"floats for ints":          func() { b.Embed(x, x, x, 1) },
		"no buffer":                func() { b.Add(nil, x) },
		"another backend's buffer": func() { b.Add(x, foreign) },
		"index out of range":       func() { b.Embed(x, zeros(b, 0), i, 1) },
		"target out of range":      func() { b.CrossEntropy(nil, x, x, x, x, i, 1, ops.Weight{Out: 0, In: 5, Dense: x}, 1) },
		"slice out of range":       func() { x.Slice(5, 11) },
		"cache is full":            func() { cacheBeyond(b) },
		"a freed buffer":           func() { y := zeros(b, 5); b.Free(y); b.Add(x, y.(*buffer).Slice(0, 5)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "internal error: cpu: ") {
					t.Errorf("got %v, want an internal error", text)
				}
			}()
			f()
		})
	}
}

func cacheBeyond(b *Backend) {
	c, _ := b.AllocCache(1, 4, 1, 8)
	b.CacheWrite(c, zeros(b, 8), zeros(b, 8), []int32{0}, []int32{int32(c.Capacity)})
}

// portableDigest is that of the results of the tier "go" on every architecture
// and with every GOAMD64. It changes together with ops.Version.
const portableDigest = "5e71cee561c28b49"

func TestPortableTierIsPinned(t *testing.T) {
	b, err := Open("go", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	layer := newBenchLayer(b, benchRows)
	loss, entropy, correct := zeros(b, benchRows), zeros(b, benchRows), zeros(b, benchRows)
	layer.forward()
	b.CrossEntropy(layer.dy, loss, entropy, correct, layer.y, zeroInts(b, benchRows), benchRows, layer.weights[4], 1)
	layer.loras[2].Dropout.P = 0.1
	layer.backward()
	b.SquaredNorm(correct, layer.dx)
	b.AdamW(layer.x, layer.dx, layer.q, layer.h, ops.AdamWStep{GradScale: 0.1, Decay: 0.9, Beta1: 0.9, Beta2: 0.99, StepSize: 0.1, RootBias2: 1, Eps: 1e-8})

	sum := sha256.New()
	for _, buf := range []ops.Buf{layer.y, layer.dx, layer.x, loss, entropy, correct, layer.loras[0].GradA, layer.loras[2].GradA, layer.loras[6].GradB} {
		x := make([]float32, buf.Len())
		b.Download(x, buf)
		words := make([]byte, 4*len(x))
		for i, v := range x {
			binary.LittleEndian.PutUint32(words[4*i:], math.Float32bits(v))
		}
		sum.Write(words)
		if slices.ContainsFunc(x, func(v float32) bool { return v-v != 0 }) {
			t.Error("a result is not finite")
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil))[:16]; got != portableDigest {
		t.Errorf("got %s, want %s", got, portableDigest)
	}
}
