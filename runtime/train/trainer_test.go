package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/ops"
	"pipe/runtime/optim"
)

// someSamples are n samples of up to 12 tokens.
func someSamples(n int) []Sample {
	samples := make([]Sample, n)
	for i := range samples {
		for j := range 4 + i*5%9 {
			samples[i].IDs = append(samples[i].IDs, int32((i*7+j*j*3+j)%23))
			samples[i].IsTarget = append(samples[i].IsTarget, j > 1+i%2)
		}
	}
	return samples
}

var someSettings = Settings{
	BatchSize: 4, MicroBatchTokens: 20, MaxGradNorm: 1, Seed: 11, AdamW: optim.Defaults,
	Schedule: optim.Schedule{Kind: optim.Cosine, Peak: 0.02, Warmup: 2, Horizon: 40},
}

// newTrainer returns a trainer of a small random model on b.
func newTrainer(t testing.TB, b ops.Backend, samples []Sample, dropout float64, s Settings) *Trainer {
	t.Helper()
	m, err := mistral.Load(b, mistraltest.Write(t, mistraltest.Awkward, nil))
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.New(b, m.Config.Base(), lora.Config{Rank: 2, Alpha: 4, Dropout: dropout}, 3)
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := New(m, a, samples, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		trainer.Free()
		a.Free()
		m.Free()
	})
	return trainer
}

func steps(t testing.TB, trainer *Trainer, n int) []Metrics {
	t.Helper()
	var all []Metrics
	for range n {
		m, err := trainer.Step(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func TestTrainingLearns(t *testing.T) {
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		trainer := newTrainer(t, b, someSamples(6), 0, Settings{BatchSize: 3, MicroBatchTokens: 64, MaxGradNorm: 1, AdamW: optim.Defaults,
			Schedule: optim.Schedule{Kind: optim.Constant, Peak: 0.05, Warmup: 3}})
		first := steps(t, trainer, 2)[0]
		steps(t, trainer, 60)
		last, err := trainer.Evaluate(context.Background(), someSamples(6))
		if err != nil {
			t.Fatal(err)
		}
		if last.Loss > first.Loss/2 || last.Accuracy < first.Accuracy {
			t.Errorf("loss went from %g to %g, accuracy from %g to %g", first.Loss, last.Loss, first.Accuracy, last.Accuracy)
		}
	})
}

// TestStateResumesBitForBit stops at every step of the first epochs.
func TestStateResumesBitForBit(t *testing.T) {
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		const total = 12
		samples := someSamples(10)
		whole := newTrainer(t, b, samples, 0.1, someSettings)
		want := steps(t, whole, total)
		for k := range total {
			first := newTrainer(t, b, samples, 0.1, someSettings)
			got := steps(t, first, k)
			state, err := first.State()
			if err != nil {
				t.Fatal(err)
			}
			second := newTrainer(t, b, samples, 0.1, someSettings)
			if err := second.Restore(state); err != nil {
				t.Fatal(err)
			}
			got = append(got, steps(t, second, total-k)...)
			if !slices.Equal(got, want) {
				t.Fatalf("stopped at %d: metrics differ:\n%+v\n%+v", k, got, want)
			}
			if !slices.Equal(second.Adapter().Snapshot(), whole.Adapter().Snapshot()) {
				t.Errorf("stopped at %d: the adapters differ", k)
			}
		}
	})
}

func TestWorkersDoNotChangeTraining(t *testing.T) {
	for _, tier := range tiers() {
		var want []float32
		for _, workers := range []int{1, 2, 5} {
			trainer := newTrainer(t, openTier(t, tier, workers), someSamples(10), 0.1, someSettings)
			steps(t, trainer, 6)
			got := trainer.Adapter().Snapshot()
			if want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: %d workers give other bits", tier, workers)
			}
		}
	}
}

// TestMicroBatchesAreALayout trains with one sample at a time, with all of a step
// packed, and with something in between.
func TestMicroBatchesAreALayout(t *testing.T) {
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		settings := someSettings
		settings.MicroBatchTokens = 1
		alone := newTrainer(t, b, someSamples(10), 0.1, settings)
		want := steps(t, alone, 8)
		for _, tokens := range []int{20, 1000} {
			settings.MicroBatchTokens = tokens
			packed := newTrainer(t, b, someSamples(10), 0.1, settings)
			for i, got := range steps(t, packed, 8) {
				at := fmt.Sprintf("%d tokens, step %d: ", tokens, i+1)
				near(t, at+"loss", got.Loss, want[i].Loss, 1e-4)
				near(t, at+"grad_norm", got.GradNorm, want[i].GradNorm, 1e-4*want[i].GradNorm)
				if got.Supervised != want[i].Supervised || got.Tokens != want[i].Tokens {
					t.Errorf("%sgot %d of %d tokens, want %d of %d", at, got.Supervised, got.Tokens, want[i].Supervised, want[i].Tokens)
				}
				if tokens == 1000 && got.MeanTokenAccuracy != got.Accuracy {
					t.Errorf("%sin one micro-batch both accuracies are the same", at)
				}
			}
		}
	})
}

func TestEpochsTakeEverySampleOnce(t *testing.T) {
	c := newCourse(someSamples(11), 4, 5)
	var orders []string
	for epoch := range 3 {
		var seen []int
		for i := range c.stepsPerEpoch() {
			step := c.at(epoch*3 + i)
			if want := []int{4, 4, 3}[i]; len(step) != want {
				t.Errorf("epoch %d, step %d has %d samples, want %d", epoch, i, len(step), want)
			}
			seen = append(seen, step...)
		}
		orders = append(orders, fmt.Sprint(seen))
		slices.Sort(seen)
		for i, s := range seen {
			if s != i {
				t.Fatalf("epoch %d takes %v", epoch, seen)
			}
		}
	}
	if orders[0] == orders[1] || orders[1] == orders[2] {
		t.Errorf("epochs have the same order: %v", orders)
	}
	if got := fmt.Sprint(order(6, 5, 0), order(6, 5, 1), order(6, 6, 0)); got != "[0 2 5 1 3 4] [1 5 2 0 3 4] [0 2 4 1 3 5]" {
		t.Errorf("the order has changed, which breaks resuming: %s", got) // pinned
	}
}

func TestOrderIsUniform(t *testing.T) {
	const n, epochs = 5, 6000
	var counts [n][n]int
	for epoch := range epochs {
		for place, sample := range order(n, 1, epoch) {
			counts[place][sample]++
		}
	}
	for place := range counts {
		for sample, got := range counts[place] {
			if math.Abs(float64(got)-epochs/n) > 150 { // five standard deviations
				t.Errorf("sample %d is %d times in place %d, want about %d", sample, got, place, epochs/n)
			}
		}
	}
}

func TestMicroBatchesKeepTheLimit(t *testing.T) {
	c := &course{}
	for _, n := range []int{5, 9, 30, 2, 2, 8} {
		c.samples = append(c.samples, Sample{IDs: make([]int32, n)})
	}
	if got := fmt.Sprint(c.microBatches([]int{0, 1, 2, 3, 4, 5}, 12)); got != "[[0] [1] [2] [3 4 5]]" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(c.microBatches([]int{5, 4, 3, 2, 1, 0}, 14)); got != "[[5 4 3] [2] [1 0]]" {
		t.Errorf("got %s", got)
	}
}

func TestMetricsCountTokensAndEpochs(t *testing.T) {
	samples := someSamples(10)
	trainer := newTrainer(t, ops.NewReference(), samples, 0, someSettings)
	all := 0
	for _, s := range samples {
		all += len(s.IDs)
	}
	metrics := steps(t, trainer, 6)
	if m := metrics[5]; m.Step != 6 || m.Epoch != 2 || m.TotalTokens != 2*all {
		t.Errorf("behind two epochs: %+v, want %d tokens", m, 2*all)
	}
	if m := metrics[0]; m.Epoch != 1.0/3 || m.LearningRate != 0 || m.TotalTokens != m.Tokens {
		t.Errorf("behind the first step: %+v", m)
	}
	// The first step has rate 0: nothing moves, but the moments do.
	if metrics[1].LearningRate != 0.01 {
		t.Errorf("second step: %+v", metrics[1])
	}
}

// poison makes an operation of a backend give NaN from its n-th call on.
type poison struct {
	ops.Backend
	what string
	n    int
}

func (p *poison) due(what string) bool {
	if p.what != what {
		return false
	}
	p.n--
	return p.n < 0
}

func (p *poison) CrossEntropy(dx, loss, entropy, correct, x, targets ops.Buf, rows int, w ops.Weight, scale float32) {
	p.Backend.CrossEntropy(dx, loss, entropy, correct, x, targets, rows, w, scale)
	if p.due("loss") {
		p.Fill(loss.Slice(0, 1), float32(math.NaN()))
	}
	if p.due("gradient") && dx != nil {
		p.Fill(dx.Slice(0, 1), float32(math.Inf(1)))
	}
}

func (p *poison) AdamW(x, g, m, v ops.Buf, s ops.AdamWStep) {
	if p.due("update") {
		s.StepSize = float32(math.NaN())
	}
	p.Backend.AdamW(x, g, m, v, s)
}

func TestWhatIsNotFiniteStopsInThatStep(t *testing.T) {
	for _, c := range []struct{ what, want string }{
		{"loss", "step 4: loss is NaN"},
		{"gradient", "step 4: grad_norm is NaN"},
		{"update", "step 4: the norm of the updated adapter is NaN"},
	} {
		settings := someSettings
		settings.MicroBatchTokens = 1000 // one operation a step
		b := &poison{Backend: ops.NewReference(), what: c.what, n: 3}
		trainer := newTrainer(t, b, someSamples(10), 0, settings)
		steps(t, trainer, 3)
		before := trainer.Adapter().Snapshot()
		_, err := trainer.Step(context.Background())
		var bad *NonFiniteError
		if !errors.As(err, &bad) || err.Error() != c.want || bad.Step != 4 {
			t.Fatalf("%s: got %v, want %s", c.what, err, c.want)
		}
		if !slices.Equal(trainer.Adapter().Snapshot(), before) {
			t.Errorf("%s: the adapter is not that of the step before", c.what)
		}
		if _, again := trainer.Step(context.Background()); again != err {
			t.Errorf("%s: the trainer goes on: %v", c.what, again)
		}
		if _, stateErr := trainer.State(); stateErr != err {
			t.Errorf("%s: the state can be saved: %v", c.what, stateErr)
		}
	}
}

func TestCancelledStepChangesNothing(t *testing.T) {
	samples := someSamples(10)
	whole := newTrainer(t, ops.NewReference(), samples, 0.1, someSettings)
	want := steps(t, whole, 3)
	trainer := newTrainer(t, ops.NewReference(), samples, 0.1, someSettings)
	got := steps(t, trainer, 2)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := trainer.Step(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want cancelled", err)
	}
	if got = append(got, steps(t, trainer, 1)...); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got[2], want[2])
	}
}

func TestEvaluateAgreesWithTraining(t *testing.T) {
	settings := someSettings
	settings.BatchSize, settings.MicroBatchTokens = 10, 1000
	trainer := newTrainer(t, ops.NewReference(), someSamples(10), 0.5, settings)
	got, err := trainer.Evaluate(context.Background(), someSamples(10))
	if err != nil {
		t.Fatal(err)
	}
	// B is 0, so that not even dropout makes a difference.
	want := steps(t, trainer, 1)[0].Figures
	near(t, "loss", got.Loss, want.Loss, 1e-6)
	near(t, "entropy", got.Entropy, want.Entropy, 1e-6)
	if got.Accuracy != want.Accuracy || got.Supervised != want.Supervised {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if none, err := trainer.Evaluate(context.Background(), nil); err != nil || none != (Figures{}) {
		t.Errorf("no samples: got %+v, %v", none, err)
	}
	if _, err := trainer.Evaluate(context.Background(), []Sample{{IDs: make([]int32, 200)}}); err == nil {
		t.Error("a sample longer than the trainer was made for is taken")
	}
}

func TestNewRefuses(t *testing.T) {
	b := ops.NewReference()
	m, err := mistral.Load(b, mistraltest.Write(t, mistraltest.Awkward, nil))
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.New(b, m.Config.Base(), lora.Config{Rank: 2, Alpha: 4}, 3)
	if err != nil {
		t.Fatal(err)
	}
	good := someSamples(2)
	masked := Sample{IDs: []int32{1, 2}, IsTarget: []bool{true, false}}
	change := func(f func(*Settings)) Settings {
		s := someSettings
		f(&s)
		return s
	}
	for _, c := range []struct {
		name             string
		samples, holdOut []Sample
		settings         Settings
		want             string
	}{
		{"no samples", nil, nil, someSettings, "no samples to train on"},
		{"nothing to learn", append(someSamples(1), masked), nil, someSettings, "training sample 1: no token is a target"},
		{"empty", []Sample{{}}, nil, someSettings, "training sample 0: no tokens"},
		{"mask", []Sample{{IDs: []int32{1, 2}, IsTarget: []bool{true}}}, nil, someSettings, "2 tokens and a mask of 1"},
		{"vocabulary", []Sample{{IDs: []int32{1, 23}, IsTarget: []bool{false, true}}}, nil, someSettings, "token 1 is 23, the base has 23"},
		{"too long", []Sample{{IDs: make([]int32, 33), IsTarget: make([]bool, 33)}}, nil, someSettings, "33 tokens, the base was made for up to 32"},
		{"hold-out", good, []Sample{masked}, someSettings, "hold-out sample 0"},
		{"batch", good, nil, change(func(s *Settings) { s.BatchSize = 0 }), "batch_size"},
		{"micro-batch", good, nil, change(func(s *Settings) { s.MicroBatchTokens = 0 }), "micro_batch_tokens"},
		{"norm", good, nil, change(func(s *Settings) { s.MaxGradNorm = -1 }), "max_grad_norm"},
		{"schedule", good, nil, change(func(s *Settings) { s.Schedule.Horizon = 0 }), "schedule"},
		{"eps", good, nil, change(func(s *Settings) { s.AdamW.Eps = 0 }), "eps"},
	} {
		if _, err := New(m, a, c.samples, c.holdOut, c.settings); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	trainer := newTrainer(t, ops.NewReference(), someSamples(4), 0, someSettings)
	state, err := trainer.State()
	if err != nil {
		t.Fatal(err)
	}
	other := state
	other.Moments1 = other.Moments1[1:]
	if err := trainer.Restore(other); err == nil || !strings.Contains(err.Error(), "parameters") {
		t.Errorf("another adapter: %v", err)
	}
	other = state
	other.Params = slices.Clone(state.Params)
	other.Params[3] = float32(math.NaN())
	if err := trainer.Restore(other); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("a poisoned state: %v", err)
	}
}
