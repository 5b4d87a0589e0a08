package train

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pipe/runtime/optim"
)

func ref(x float64) *float64 { return &x }

var someBands = Bands{
	Healthy:     Healthy{Loss: &Range{0.5, 0.8}, Accuracy: &Range{0.75, 0.85}, Entropy: &Range{0.8, 1.2}, Epoch: &Range{2, 4}},
	Overfitting: Overfitting{LossBelow: ref(0.3), AccuracyAbove: ref(0.9), EntropyBelow: ref(0.5), EpochAbove: ref(5)},
}

func TestDiagnose(t *testing.T) {
	for _, c := range []struct {
		name      string
		bands     Bands
		figures   Figures
		epoch     float64
		want      Health
		wantSigns string
	}{
		{"nothing is set", Bands{}, Figures{Loss: 9}, 1, Unknown, ""},
		{"the beginning", someBands, Figures{Loss: 2, Accuracy: 0.5, Entropy: 2}, 0.5, Warming, ""},
		{"only the epoch is early", someBands, Figures{Loss: 0.6, Accuracy: 0.8, Entropy: 1}, 1.9, Warming, ""},
		{"all inside", someBands, Figures{Loss: 0.6, Accuracy: 0.8, Entropy: 1}, 3, InBand, ""},
		{"on the edges", someBands, Figures{Loss: 0.5, Accuracy: 0.85, Entropy: 1.2}, 4, InBand, ""},
		{"loss is through", someBands, Figures{Loss: 0.4, Accuracy: 0.8, Entropy: 1}, 3, Past, ""},
		{"loss is through, accuracy is not there", someBands, Figures{Loss: 0.4, Accuracy: 0.7, Entropy: 1}, 3, Warming, ""},
		{"epochs are through", someBands, Figures{Loss: 0.6, Accuracy: 0.8, Entropy: 1}, 4.5, Past, ""},
		{"one sign", someBands, Figures{Loss: 0.6, Accuracy: 0.953, Entropy: 1}, 3, Overfit, "accuracy 0.953 above 0.9"},
		{"all signs", someBands, Figures{Loss: 0.1, Accuracy: 0.95, Entropy: 0.2}, 6, Overfit,
			"loss 0.1 below 0.3; accuracy 0.95 above 0.9; entropy 0.2 below 0.5; epoch 6 above 5"},
		{"only one band", Bands{Healthy: Healthy{Loss: &Range{1, 2}}}, Figures{Loss: 1.5}, 30, InBand, ""},
		{"only a sign that is absent", Bands{Overfitting: Overfitting{LossBelow: ref(0.1)}}, Figures{Loss: 1.5}, 30, Unknown, ""},
	} {
		got, signs := c.bands.Diagnose(c.figures, c.epoch)
		if got != c.want || strings.Join(signs, "; ") != c.wantSigns {
			t.Errorf("%s: got %q %v, want %q %q", c.name, got, signs, c.want, c.wantSigns)
		}
	}
}

func TestWindowIsAMeanOverTheLastSteps(t *testing.T) {
	w := window{length: 2}
	w.add(Figures{Loss: 100, Supervised: 50})
	if _, full := w.figures(); full {
		t.Error("full after one step of two")
	}
	w.add(Figures{Loss: 1, Accuracy: 1, Entropy: 2, Supervised: 10})
	w.add(Figures{Loss: 4, Accuracy: 0, Entropy: 5, Supervised: 20})
	got, full := w.figures()
	if want := (Figures{Loss: 3, Accuracy: 1.0 / 3, Entropy: 4, Supervised: 30}); got != want || !full {
		t.Errorf("got %+v, %t, want %+v", got, full, want)
	}
	for _, c := range [][3]int{{0, 40, 40}, {10, 40, 10}, {100, 40, 40}} {
		if got := windowLength(c[0], c[1]); got != c[2] {
			t.Errorf("checkpoints every %d, %d steps an epoch: window of %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

// keepAll feeds checkpoints to a policy, one after the other, and returns what is
// kept in the end.
func keepAll(r Retention, limit int, all []Checkpoint) []Checkpoint {
	var kept []Checkpoint
	for _, c := range all {
		kept, _ = r.keep(kept, c, limit)
	}
	return kept
}

func stepsOf(list []Checkpoint) string {
	var steps []string
	for _, c := range list {
		steps = append(steps, fmt.Sprint(c.Step))
	}
	return strings.Join(steps, " ")
}

func checkpoints(n int, healthy func(i int) bool) []Checkpoint {
	list := make([]Checkpoint, n)
	for i := range list {
		list[i] = Checkpoint{Step: 100 * (i + 1), Health: Warming, HoldOut: &Figures{Loss: math.Abs(float64(i) - 6.2)}}
		if healthy != nil && healthy(i+1) {
			list[i].Health = InBand
		}
	}
	return list
}

func TestRetention(t *testing.T) {
	middle := func(i int) bool { return i >= 4 && i <= 6 }
	for _, c := range []struct {
		name   string
		policy Retention
		limit  int
		all    []Checkpoint
		want   string
	}{
		{"no limit", Spread, 0, checkpoints(5, nil), "100 200 300 400 500"},
		{"last", Last, 3, checkpoints(8, nil), "600 700 800"},
		{"best keeps the newest too", Best, 3, checkpoints(12, nil), "700 800 1200"},
		{"spread", Spread, 4, checkpoints(8, nil), "200 400 600 800"},
		{"spread keeps the healthy", Spread, 4, checkpoints(12, middle), "400 500 600 1200"},
		{"spread thins the healthy if there are too many", Spread, 3, checkpoints(9, func(i int) bool { return i > 1 && i < 9 }), "400 700 900"},
		{"limit 1 keeps the newest", Spread, 1, checkpoints(9, middle), "900"},
		{"without hold-out best drops the oldest", Best, 2, []Checkpoint{{Step: 1}, {Step: 2}, {Step: 3}}, "2 3"},
	} {
		if got := stepsOf(keepAll(c.policy, c.limit, c.all)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestSpreadStaysEven(t *testing.T) {
	for limit := 4; limit <= 10; limit++ {
		for n := limit; n < 80; n++ {
			kept := keepAll(Spread, limit, checkpoints(n, nil))
			if len(kept) != limit || kept[limit-1].Step != 100*n {
				t.Fatalf("limit %d of %d: kept %s", limit, n, stepsOf(kept))
			}
			widest := kept[0].Step
			for i := range kept[1:] {
				widest = max(widest, kept[i+1].Step-kept[i].Step)
			}
			if even := float64(100*n) / float64(limit); float64(widest) > 3*even+100 {
				t.Errorf("limit %d of %d: a gap of %d in %s", limit, n, widest, stepsOf(kept))
			}
		}
	}
}

func TestSpreadNeverDropsHealthyForOthers(t *testing.T) {
	for seed := range 200 {
		healthy := func(i int) bool { return (i*(seed+3)+seed*seed)%7 < 3 }
		var kept, dropped []Checkpoint
		for _, c := range checkpoints(30, healthy) {
			kept, dropped = Spread.keep(kept, c, 5)
			for _, d := range dropped {
				for _, k := range kept[:len(kept)-1] { // the newest stays in any case
					if d.Health == InBand && k.Health != InBand {
						t.Fatalf("seed %d: healthy %d is dropped, %d is kept", seed, d.Step, k.Step)
					}
				}
			}
		}
	}
}

func TestHorizon(t *testing.T) {
	for _, c := range []struct {
		scheduleSteps int
		epochs        float64
		per, want     int
	}{{0, 5, 40, 200}, {0, 0.5, 3, 2}, {120, 5, 40, 120}, {0, 0, 40, 0}, {0, 0.1, 30, 3}} {
		if got := Horizon(c.scheduleSteps, c.epochs, c.per); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	constant := optim.Schedule{Kind: optim.Constant, Peak: 1}
	good := Plan{MaxSteps: 10, Retain: Spread, OnOverfit: Warn}
	change := func(f func(*Plan)) Plan {
		p := good
		f(&p)
		return p
	}
	for _, c := range []struct {
		name     string
		plan     Plan
		schedule optim.Schedule
		want     string
	}{
		{"good", good, constant, ""},
		{"defaults", Plan{MaxEpochs: 1}, constant, ""},
		{"a schedule ends the training", change(func(p *Plan) { p.MaxSteps = 0 }), optim.Schedule{Kind: optim.Linear, Peak: 1, Horizon: 10}, ""},
		{"no end", change(func(p *Plan) { p.MaxSteps = 0 }), constant, "nothing ends the training"},
		{"no horizon", change(func(p *Plan) { p.TimeBudget = time.Hour }), optim.Schedule{Kind: optim.Cosine, Peak: 1}, "set schedule_steps or max_epochs"},
		{"budget", change(func(p *Plan) { p.TimeBudget = -1 }), constant, "time_budget"},
		{"steps", change(func(p *Plan) { p.MaxSteps = -1 }), constant, "max_steps"},
		{"epochs", change(func(p *Plan) { p.MaxEpochs = math.NaN() }), constant, "max_epochs"},
		{"saves", change(func(p *Plan) { p.SaveSteps = -1 }), constant, "save_steps"},
		{"limit", change(func(p *Plan) { p.SaveTotalLimit = -1 }), constant, "save_total_limit"},
		{"retention", change(func(p *Plan) { p.Retain = "all" }), constant, "retain: must be"},
		{"best of what", change(func(p *Plan) { p.Retain = Best }), constant, "no samples are held out"},
		{"overfit", change(func(p *Plan) { p.OnOverfit = "go on" }), constant, "on_overfit"},
		{"range", change(func(p *Plan) { p.Bands.Healthy.Loss = &Range{2, 1} }), constant, "health.healthy.loss: must rise, got [2, 1]"},
	} {
		err := c.plan.Validate(c.schedule, false)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAdvice(t *testing.T) {
	linear := func(warmup, horizon int) optim.Schedule {
		return optim.Schedule{Kind: optim.Linear, Peak: 1e-3, Warmup: warmup, Horizon: horizon}
	}
	for _, c := range []struct {
		name     string
		plan     Plan
		schedule optim.Schedule
		batch    int
		want     string // all advice, or "" for none
	}{
		{"fine", Plan{MaxEpochs: 5, SaveSteps: 40, Bands: someBands}, linear(10, 200), 8, ""},
		{"a high rate", Plan{MaxEpochs: 5}, optim.Schedule{Kind: optim.Constant, Peak: 1}, 8, "learning_rate 1 is far above what adapters are trained with"},
		{"rare checkpoints", Plan{TimeBudget: time.Hour, SaveSteps: 100}, optim.Schedule{Kind: optim.Constant, Peak: 1e-3}, 21,
			"save_steps 100 is 5.0 epochs: no checkpoint before epoch 5"},
		{"none in the healthy epochs", Plan{TimeBudget: time.Hour, SaveSteps: 100, Bands: someBands}, optim.Schedule{Kind: optim.Constant, Peak: 1e-3}, 21,
			"save_steps 100 is 5.0 epochs: no checkpoint lies within the healthy epochs 2 to 4"},
		{"only the last", Plan{MaxSteps: 50, SaveSteps: 100}, linear(10, 200), 8,
			"save_steps 100 is 2.5 epochs, and training ends after 50 steps: no checkpoint but the last"},
		{"long warm-up", Plan{MaxSteps: 50}, linear(60, 200), 8,
			"warmup_steps 60 is longer than the training of 50 steps: the learning rate never gets to its peak"},
		{"half warm-up", Plan{MaxSteps: 50}, linear(30, 200), 8, "warmup_steps 30 is more than half of the training of 50 steps"},
		{"early horizon", Plan{MaxEpochs: 5}, linear(10, 120), 8,
			"max_epochs is 200 steps, but schedule_steps 120 brings the learning rate to 0: training ends there"},
		{"under an epoch", Plan{MaxSteps: 10}, linear(1, 200), 8, "training ends after 10 steps, 0.25 of an epoch: 75 % of the records are never seen"},
		{"the last only, too late", Plan{MaxEpochs: 10, SaveSteps: 40, SaveTotalLimit: 3, Retain: Last, Bands: someBands}, linear(10, 400), 8,
			"retain last keeps 3 checkpoints, from epoch 8.0 on: those within the healthy epochs 2 to 4 are dropped"},
		{"the last only, early enough", Plan{MaxEpochs: 5, SaveSteps: 40, SaveTotalLimit: 2, Retain: Last, Bands: someBands}, linear(10, 200), 8, ""},
		{"bands that overlap", Plan{MaxEpochs: 5, Bands: Bands{Healthy: Healthy{Loss: &Range{0.5, 0.8}}, Overfitting: Overfitting{LossBelow: ref(0.6)}}}, linear(10, 200), 8,
			"loss_below 0.6 lies within what is called healthy, 0.5 to 0.8: that part of it counts as overfitting"},
		{"large batch", Plan{MaxSteps: 5}, linear(1, 5), 400, "batch_size 400 is more than the 320 samples: every step takes all of them"},
		{"too short to be healthy", Plan{MaxEpochs: 1, Bands: someBands}, linear(2, 40), 8,
			"training ends after 1.0 epochs, before the healthy ones begin (2)"},
		{"stop at nothing", Plan{MaxEpochs: 5, OnOverfit: Stop}, linear(2, 200), 8,
			"on_overfit is stop, but no overfitting band is set: nothing is ever seen as overfitting"},
		{"limit 1", Plan{MaxEpochs: 5, SaveTotalLimit: 1}, linear(2, 200), 8,
			"save_total_limit 1 keeps the last checkpoint alone, whatever retain says"},
	} {
		samples := 320
		if c.batch == 21 {
			samples = 420 // 20 steps an epoch
		}
		got := c.plan.Advise(Settings{BatchSize: c.batch, Schedule: c.schedule}, samples)
		var texts []string
		for _, a := range got {
			texts = append(texts, a.Text)
		}
		if strings.Join(texts, "\n") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, texts, c.want)
		}
	}
}

func TestAdviceOnSpeed(t *testing.T) {
	plan := Plan{TimeBudget: time.Minute}
	if got := plan.AdviseSpeed(6000, 101); len(got) != 0 {
		t.Errorf("a budget of an epoch: got %q", got)
	}
	got := plan.AdviseSpeed(6000, 50)
	if len(got) != 1 || got[0].Param != "time_budget" || got[0].Text != "time_budget 1m0s is under one epoch: at 50 tokens/s the 6000 tokens of an epoch take 2m0s" {
		t.Errorf("half an epoch: got %q", got)
	}
	if got := (Plan{}).AdviseSpeed(6000, 50); len(got) != 0 {
		t.Errorf("no budget: got %q", got)
	}
}
