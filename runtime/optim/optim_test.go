package optim

import (
	"math"
	"strings"
	"testing"

	"pipe/runtime/ops"
	"pipe/runtime/ops/opstest"
)

func TestScheduleRates(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Schedule
		step int
		want float64
	}{
		{"first step of a warm-up is 0", Schedule{Kind: Linear, Peak: 4e-3, Warmup: 3, Horizon: 20}, 0, 0},
		{"warm-up rises evenly", Schedule{Kind: Linear, Peak: 4e-3, Warmup: 3, Horizon: 20}, 1, 4e-3 / 3},
		{"peak follows the warm-up", Schedule{Kind: Linear, Peak: 4e-3, Warmup: 3, Horizon: 20}, 3, 4e-3},
		{"linear falls", Schedule{Kind: Linear, Peak: 4e-3, Warmup: 3, Horizon: 20}, 4, 4e-3 * 16 / 17},
		{"linear's last step is not 0", Schedule{Kind: Linear, Peak: 4e-3, Warmup: 3, Horizon: 20}, 19, 4e-3 / 17},
		{"linear ends at the horizon", Schedule{Kind: Linear, Peak: 4e-3, Warmup: 3, Horizon: 20}, 20, 0},
		{"linear stays at 0", Schedule{Kind: Linear, Peak: 4e-3, Warmup: 3, Horizon: 20}, 99, 0},
		{"without warm-up the first step has the peak", Schedule{Kind: Linear, Peak: 1, Horizon: 4}, 0, 1},
		{"cosine begins at the peak", Schedule{Kind: Cosine, Peak: 2, Warmup: 2, Horizon: 12}, 2, 2},
		{"cosine is half way down in the middle", Schedule{Kind: Cosine, Peak: 2, Warmup: 2, Horizon: 12}, 7, 1},
		{"cosine does not come back", Schedule{Kind: Cosine, Peak: 2, Warmup: 2, Horizon: 12}, 17, 0},
		{"constant warms up", Schedule{Kind: Constant, Peak: 2, Warmup: 4}, 2, 1},
		{"constant has no end", Schedule{Kind: Constant, Peak: 2, Warmup: 4}, 1000000, 2},
		{"horizon within the warm-up", Schedule{Kind: Linear, Peak: 2, Warmup: 4, Horizon: 2}, 3, 1.5},
	} {
		if got := c.s.Rate(c.step); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s: got %g, want %g", c.name, got, c.want)
		}
	}
}

func TestValidateNamesTheParameter(t *testing.T) {
	for _, c := range []struct {
		s    interface{ Validate() error }
		want string
	}{
		{Schedule{Kind: "poly", Peak: 1}, "schedule: must be"},
		{Schedule{Kind: Linear, Peak: 1}, "set schedule_steps or max_epochs"},
		{Schedule{Kind: Constant, Peak: math.NaN()}, "learning_rate"},
		{Schedule{Kind: Constant, Peak: 1, Warmup: -1}, "warmup_steps"},
		{Schedule{Kind: Constant, Peak: 1, Horizon: -1}, "schedule_steps"},
		{Settings{Beta1: 1, Eps: 1}, "beta1"},
		{Settings{Beta2: -1, Eps: 1}, "beta2"},
		{Settings{}, "eps"},
		{Settings{Eps: 1, WeightDecay: math.Inf(1)}, "weight_decay"},
	} {
		if err := c.s.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.s, err, c.want)
		}
	}
	if err := (Schedule{Kind: Constant, Peak: 1e-4, Warmup: 20}).Validate(); err != nil {
		t.Error(err)
	}
	if err := Defaults.Validate(); err != nil {
		t.Error(err)
	}
}

func TestClipBoundsTheNorm(t *testing.T) {
	for _, c := range []struct{ norm, highest, want float64 }{
		{0.5, 1, 1}, {2, 1, 1 / (2 + 1e-6)}, {1e9, 0, 1}, {0, 1, 1},
	} {
		if got := Clip(c.norm, c.highest); got != c.want {
			t.Errorf("norm %g, highest %g: got %g, want %g", c.norm, c.highest, got, c.want)
		}
	}
}

// adamWInFloat64 is the update as the paper and torch state it.
func adamWInFloat64(p, m, v, g, rate, t float64, s Settings) (_, _, _ float64) {
	p *= 1 - rate*s.WeightDecay
	m = s.Beta1*m + (1-s.Beta1)*g
	v = s.Beta2*v + (1-s.Beta2)*g*g
	p -= rate / (1 - math.Pow(s.Beta1, t)) * m / (math.Sqrt(v)/math.Sqrt(1-math.Pow(s.Beta2, t)) + s.Eps)
	return p, m, v
}

func TestAdamWFollowsTheFormula(t *testing.T) {
	b := opstest.Sealed(ops.NewReference())
	s := Settings{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01}
	o, err := NewAdamW(b, 3, s)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Free()
	p, _ := b.Alloc(ops.Float32, 3)
	g, _ := b.Alloc(ops.Float32, 3)
	start := []float32{1, -2, 0.5}
	b.Upload(p, start)
	want := []float64{1, -2, 0.5}
	m, v := make([]float64, 3), make([]float64, 3)
	for step := range 50 {
		rate := 0.01 * float64(step) / 10 // the first rate is 0, and its gradients still count
		gradients := []float32{float32(math.Sin(float64(step))), 2, -1e-4}
		b.Upload(g, gradients)
		o.Step(p, g, rate, 0.5)
		for i, gradient := range gradients {
			want[i], m[i], v[i] = adamWInFloat64(want[i], m[i], v[i], 0.5*float64(gradient), rate, float64(step+1), s)
		}
	}
	got := make([]float32, 3)
	b.Download(got, p)
	for i := range got {
		if math.Abs(float64(got[i])-want[i]) > 1e-5 {
			t.Errorf("parameter %d: got %g, want %g", i, got[i], want[i])
		}
	}
}

func TestRestoredMomentsGiveTheSameBits(t *testing.T) {
	b := ops.NewReference()
	run := func(cut int) []float32 {
		p, _ := b.Alloc(ops.Float32, 2)
		g, _ := b.Alloc(ops.Float32, 2)
		o, _ := NewAdamW(b, 2, Defaults)
		for step := range 10 {
			if step == cut {
				m, v := o.Moments()
				o, _ = NewAdamW(b, 2, Defaults)
				o.Restore(m, v, step)
			}
			b.Upload(g, []float32{float32(step) - 3, 1 / float32(step+1)})
			o.Step(p, g, 0.1, 1)
		}
		got := make([]float32, 2)
		b.Download(got, p)
		return got
	}
	whole, cut := run(-1), run(4)
	if whole[0] != cut[0] || whole[1] != cut[1] {
		t.Errorf("got %v, want %v", cut, whole)
	}
}

func TestNormShowsWhatIsNotFinite(t *testing.T) {
	b := ops.NewReference()
	o, _ := NewAdamW(b, 2, Defaults)
	x, _ := b.Alloc(ops.Float32, 2)
	b.Upload(x, []float32{3, -4})
	if got := o.Norm(x); got != 5 {
		t.Errorf("got %g, want 5", got)
	}
	b.Upload(x, []float32{3, float32(math.NaN())})
	if got := o.Norm(x); !math.IsNaN(got) {
		t.Errorf("got %g, want NaN", got)
	}
}
