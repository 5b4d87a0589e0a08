package opstest

import (
	"reflect"
	"strings"
	"testing"

	"pipe/runtime/ops"
)

// The reference itself keeps both laws; behind a seal, so that the seal is seen
// to pass everything on.
func TestReference(t *testing.T) {
	if raceDetector {
		t.Skip("slow, and the reference has one goroutine")
	}
	Run(t, func(int) ops.Backend { return Sealed(ops.NewReference()) })
}

func TestEveryMethodHasACase(t *testing.T) {
	if missing := uncovered(); len(missing) > 0 {
		t.Errorf("no case for %s", strings.Join(missing, ", "))
	}
}

func TestNoCaseIsForeign(t *testing.T) {
	backend, seen := reflect.TypeFor[ops.Backend](), map[string]bool{}
	for _, c := range cases() {
		if _, ok := backend.MethodByName(c.op); !ok {
			t.Errorf("case %q is about %q, which is no method", c.name, c.op)
		}
		if seen[c.op+c.name] {
			t.Errorf("two cases are called %s/%s", c.op, c.name)
		}
		seen[c.op+c.name] = true
	}
	for op := range tolerances {
		if _, ok := backend.MethodByName(op); !ok {
			t.Errorf("a tolerance is about %q, which is no method", op)
		}
	}
}

// Every backend below has one defect, which the suite must find.
func TestDefectsAreFound(t *testing.T) {
	tests := []struct {
		name, op string
		spoil    func(b ops.Backend, workers int) ops.Backend
	}{
		{"linear is off by 1e-4", "Linear", func(b ops.Backend, _ int) ops.Backend { return offLinear{b} }},
		{"linear depends on workers", "Linear", func(b ops.Backend, n int) ops.Backend { return unevenLinear{b, n} }},
		{"linear depends on rows", "Linear", func(b ops.Backend, _ int) ops.Backend { return crowdedLinear{b} }},
		{"dropout is ignored", "Linear", func(b ops.Backend, _ int) ops.Backend { return wholeLinear{b} }},
		{"accumulate is ignored", "LinearBackward", func(b ops.Backend, _ int) ops.Backend { return forgetful{b} }},
		{"samples see one another", "Attention", func(b ops.Backend, _ int) ops.Backend { return oneSample{b} }},
		{"the window is one too wide", "AttentionCached", func(b ops.Backend, _ int) ops.Backend { return wideWindow{b} }},
		{"ties go to the last", "Argmax", func(b ops.Backend, _ int) ops.Backend { return lastMax{b} }},
		{"not finite is hidden", "SquaredNorm", func(b ops.Backend, _ int) ops.Backend { return calm{b} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var backends []ops.Backend
			for _, n := range workers {
				backends = append(backends, test.spoil(ops.NewReference(), n))
			}
			for _, c := range cases() {
				if c.op == test.op && c.hold(backends) != nil {
					return
				}
			}
			t.Error("no case fails")
		})
	}
}

type offLinear struct{ ops.Backend }

func (b offLinear) Linear(y, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA) {
	b.Backend.Linear(y, x, rows, w, l)
	b.Scale(y.Slice(0, 1), 1+1e-4)
}

type unevenLinear struct {
	ops.Backend
	workers int
}

func (b unevenLinear) Linear(y, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA) {
	b.Backend.Linear(y, x, rows, w, l)
	b.Scale(y, 1+float32(b.workers)*0x1p-23)
}

type crowdedLinear struct{ ops.Backend }

func (b crowdedLinear) Linear(y, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA) {
	b.Backend.Linear(y, x, rows, w, l)
	if rows == 1 {
		b.Scale(y, 1+0x1p-23)
	}
}

type wholeLinear struct{ ops.Backend }

func (b wholeLinear) Linear(y, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA) {
	if l != nil {
		whole := *l
		whole.Dropout.P = 0
		l = &whole
	}
	b.Backend.Linear(y, x, rows, w, l)
}

type forgetful struct{ ops.Backend }

func (b forgetful) LinearBackward(dx, dy, x ops.Buf, rows int, w ops.Weight, l *ops.LoRA, _ bool) {
	b.Backend.LinearBackward(dx, dy, x, rows, w, l, false)
}

type oneSample struct{ ops.Backend }

func (b oneSample) Attention(out, stats, q, k, v ops.Buf, s ops.AttentionShape) {
	s.Starts = []int32{0, s.Starts[len(s.Starts)-1]}
	b.Backend.Attention(out, stats, q, k, v, s)
}

type wideWindow struct{ ops.Backend }

func (b wideWindow) AttentionCached(out, q ops.Buf, c ops.Cache, slots, lengths []int32, heads, window int) {
	if window > 0 {
		window++
	}
	b.Backend.AttentionCached(out, q, c, slots, lengths, heads, window)
}

type lastMax struct{ ops.Backend }

func (b lastMax) Argmax(out, x ops.Buf, rows, width int) {
	values, last := make([]float32, x.Len()), make([]int32, rows)
	b.Download(values, x)
	for r := range rows {
		for c, v := range values[r*width:][:width] {
			if v >= values[r*width+int(last[r])] {
				last[r] = int32(c)
			}
		}
	}
	b.Upload(out, last)
}

type calm struct{ ops.Backend }

func (b calm) SquaredNorm(out, x ops.Buf) {
	b.Backend.SquaredNorm(out, x)
	value := make([]float32, 1)
	b.Download(value, out)
	if value[0]-value[0] != 0 {
		b.Upload(out, []float32{1})
	}
}

func TestSealedRefusesStrangeBuffers(t *testing.T) {
	reference := ops.NewReference()
	s := Sealed(reference)
	mine, _ := s.Alloc(ops.Float32, 4)
	other, _ := Sealed(reference).Alloc(ops.Float32, 4)
	bare, _ := reference.Alloc(ops.Float32, 4)
	freed, _ := s.Alloc(ops.Float32, 4)
	slice := freed.Slice(0, 2)
	s.Free(freed)
	for name, f := range map[string]func(){
		"another seal's buffer":  func() { s.Add(mine, other) },
		"a buffer without seal":  func() { s.Add(mine, bare) },
		"a freed buffer":         func() { s.Add(mine, freed) },
		"a slice of a freed one": func() { s.Scale(slice, 2) },
		"freeing twice":          func() { s.Free(freed) },
		"freeing a slice":        func() { s.Free(mine.Slice(0, 2)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			f()
		})
	}
}
