package trainqlora

import (
	"fmt"
	"time"

	"pipe/runtime/optim"
	"pipe/runtime/train"
	"pipe/stages"
)

// Params are the parameters of the kind. The defaults are those that were found to
// work for a 7B model and a few hundred examples.
type Params struct {
	Device          string `yaml:"device" default:"auto" enum:"auto|cpu|cuda" key:"-" why:"an adapter is an adapter wherever it was trained; the record says where" help:"what to train on"`
	AllowTierChange bool   `yaml:"allow_tier_change" default:"false" key:"-" why:"an adapter is an adapter wherever it was trained; the record says where" help:"go on with a training that was interrupted on another CPU tier; else it starts again"`
	Precision       string `yaml:"precision" default:"fp32" enum:"fp32|bf16" help:"of the arithmetic; bf16 keeps masters, norms, softmax and loss in fp32"`

	Rank    int     `yaml:"rank" default:"16" min:"1" max:"512" help:"of the adapter; vLLM loads up to 16 unless told otherwise"`
	Alpha   float64 `yaml:"alpha" default:"32" above:"0" help:"the adapter's output is scaled by alpha / rank"`
	Dropout float64 `yaml:"dropout" default:"0" min:"0" max:"0.9" help:"of the adapter's input"`

	LearningRate     float64 `yaml:"learning_rate" default:"5e-5" above:"0" max:"1" help:"the highest learning rate"`
	Schedule         string  `yaml:"schedule" default:"constant" enum:"constant|linear|cosine" help:"how the learning rate goes on after the warm-up"`
	WarmupSteps      int     `yaml:"warmup_steps" default:"20" min:"0" help:"steps in which the learning rate rises from 0"`
	ScheduleSteps    int     `yaml:"schedule_steps" default:"0" min:"0" help:"the step at which linear and cosine reach 0; 0: where max_epochs ends"`
	BatchSize        int     `yaml:"batch_size" default:"8" min:"1" help:"conversations a step"`
	MicroBatchTokens int     `yaml:"micro_batch_tokens" default:"2048" min:"1" help:"tokens computed at a time; a step is split into as many parts as that takes"`
	MaxGradNorm      float64 `yaml:"max_grad_norm" default:"1.0" min:"0" help:"gradients of a larger norm are scaled down to it; 0 is off"`
	WeightDecay      float64 `yaml:"weight_decay" default:"0" min:"0" max:"1" help:"of AdamW"`
	Beta1            float64 `yaml:"beta1" default:"0.9" min:"0" max:"0.9999" help:"of AdamW"`
	Beta2            float64 `yaml:"beta2" default:"0.999" min:"0" max:"0.99999" help:"of AdamW"`
	Epsilon          float64 `yaml:"epsilon" default:"1e-8" above:"0" help:"of AdamW"`
	Seed             int     `yaml:"seed" default:"0" min:"0" help:"of the adapter's first values, the order of the records and dropout"`

	MaxEpochs  float64       `yaml:"max_epochs" default:"0" min:"0" max:"1e6" help:"times through the records; 0 is no end"`
	MaxSteps   int           `yaml:"max_steps" default:"0" min:"0" key:"stop" help:"steps at most; 0 is no end. It cuts the training and shapes nothing before"`
	TimeBudget time.Duration `yaml:"time_budget" default:"1h30m" key:"stop" help:"time at most; 0 is no end. It cuts the training and shapes nothing before"`

	SaveSteps      int    `yaml:"save_steps" default:"100" min:"0" help:"steps between checkpoints; 0: only where training stops"`
	SaveTotalLimit int    `yaml:"save_total_limit" default:"8" min:"0" help:"checkpoints that are kept; 0 is all"`
	Retain         string `yaml:"retain" default:"spread" enum:"spread|last|best" help:"which ones: spread over the run, never dropping one inside the healthy bands while one outside is kept; the last; the lowest hold-out loss"`

	OnOverfit string `yaml:"on_overfit" default:"warn" enum:"warn|stop" help:"what to do where the bands see overfitting"`
	Health    Health `yaml:"health" help:"bands of a healthy training and signs of overfitting"`
	LogSteps  int    `yaml:"log_steps" default:"100" min:"0" key:"-" why:"it chooses lines of the log" help:"steps between lines of the log; 0: only at checkpoints"`
}

// Health are the bands.
type Health struct {
	Healthy struct {
		Loss     *[2]float64 `yaml:"loss" default:"[0.5, 0.8]" help:"from, to; nats a token"`
		Accuracy *[2]float64 `yaml:"accuracy" default:"[0.75, 0.85]" help:"from, to; share of tokens that were the likeliest"`
		Entropy  *[2]float64 `yaml:"entropy" default:"[0.8, 1.2]" help:"from, to; nats a token"`
		Epoch    *[2]float64 `yaml:"epoch" default:"[2, 4]" help:"from, to"`
	} `yaml:"healthy" help:"everything that is set must lie in its range"`
	Overfitting struct {
		LossBelow     *float64 `yaml:"loss_below" default:"0.3" help:"nats a token"`
		AccuracyAbove *float64 `yaml:"accuracy_above" default:"0.9" help:"share"`
		EntropyBelow  *float64 `yaml:"entropy_below" default:"0.5" help:"nats a token"`
		EpochAbove    *float64 `yaml:"epoch_above" default:"5" help:"times through the records"`
	} `yaml:"overfitting" help:"any one that is true is a sign"`
}

// Check finds what the types of the parameters do not show.
func (p *Params) Check(report func(field, message, hint string)) {
	if p.Device == "cuda" && p.Precision == "fp32" {
		report("precision", "cuda does not compute in fp32", "set precision: bf16")
	}
	h := p.Health.Healthy
	for _, r := range []struct {
		name   string
		bounds *[2]float64
	}{{"loss", h.Loss}, {"accuracy", h.Accuracy}, {"entropy", h.Entropy}, {"epoch", h.Epoch}} {
		if r.bounds != nil && r.bounds[0] > r.bounds[1] {
			report("health.healthy."+r.name, fmt.Sprintf("must rise, got [%g, %g]", r.bounds[0], r.bounds[1]), "")
		}
	}
	if p.Schedule != "constant" && p.Schedule != "" && p.ScheduleSteps == 0 && p.MaxEpochs == 0 {
		report("schedule", p.Schedule+" needs to know where it ends", "set max_epochs or schedule_steps, or schedule: constant")
	}
	if p.MaxEpochs == 0 && p.MaxSteps == 0 && p.TimeBudget == 0 && (p.Schedule == "constant" || p.ScheduleSteps == 0) {
		report("max_epochs", "nothing ends the training", "set max_epochs, max_steps or time_budget")
	}
}

// Refuse says what this build cannot do.
func (p *Params) Refuse(report func(field, message, hint string)) {
	if p.Device == "cuda" {
		report("device", "cuda: this version of pipe computes on the CPU only", "set device: auto or device: cpu, and a base that a CPU can train, such as builtin:tiny-mistral")
	}
	if p.Precision == "bf16" {
		report("precision", "bf16: this version of pipe computes in fp32 only", "set precision: fp32")
	}
}

// settings are the parameters that shape the training of so many records.
func (p *Params) settings(records int) train.Settings {
	perEpoch := train.StepsPerEpoch(records, p.BatchSize)
	return train.Settings{
		BatchSize: p.BatchSize, MicroBatchTokens: p.MicroBatchTokens, MaxGradNorm: p.MaxGradNorm, Seed: uint64(p.Seed),
		Schedule: optim.Schedule{Kind: optim.Kind(p.Schedule), Peak: p.LearningRate, Warmup: p.WarmupSteps, Horizon: train.Horizon(p.ScheduleSteps, p.MaxEpochs, perEpoch)},
		AdamW:    optim.Settings{Beta1: p.Beta1, Beta2: p.Beta2, Eps: p.Epsilon, WeightDecay: p.WeightDecay},
	}
}

// values are the figures of a step beside their bands.
func (p *Params) values(f train.Figures) []stages.Value {
	h, o := p.Health.Healthy, p.Health.Overfitting
	value := func(name string, x float64, healthy *[2]float64, below, above *float64) stages.Value {
		v := stages.Value{Name: name, Value: x}
		if healthy != nil {
			v.Bands = append(v.Bands, stages.Band{Name: string(train.InBand), Low: &healthy[0], High: &healthy[1]})
		}
		if below != nil || above != nil {
			v.Bands = append(v.Bands, stages.Band{Name: string(train.Overfit), Low: above, High: below, Bad: true})
		}
		return v
	}
	return []stages.Value{
		value("loss", f.Loss, h.Loss, o.LossBelow, nil),
		value("accuracy", f.Accuracy, h.Accuracy, nil, o.AccuracyAbove),
		value("entropy", f.Entropy, h.Entropy, o.EntropyBelow, nil),
	}
}

// plan are the parameters that say when to stop and what to keep.
func (p *Params) plan() train.Plan {
	h, o := p.Health.Healthy, p.Health.Overfitting
	return train.Plan{
		TimeBudget: p.TimeBudget, MaxSteps: p.MaxSteps, MaxEpochs: p.MaxEpochs,
		SaveSteps: p.SaveSteps, SaveTotalLimit: p.SaveTotalLimit, Retain: train.Retention(p.Retain), OnOverfit: train.OnOverfit(p.OnOverfit),
		Bands: train.Bands{
			Healthy:     train.Healthy{Loss: (*train.Range)(h.Loss), Accuracy: (*train.Range)(h.Accuracy), Entropy: (*train.Range)(h.Entropy), Epoch: (*train.Range)(h.Epoch)},
			Overfitting: train.Overfitting{LossBelow: o.LossBelow, AccuracyAbove: o.AccuracyAbove, EntropyBelow: o.EntropyBelow, EpochAbove: o.EpochAbove},
		},
	}
}
