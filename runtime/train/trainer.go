package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/ops"
	"pipe/runtime/optim"
)

// Settings shape a training. The names are those of the parameters of train-qlora.
type Settings struct {
	BatchSize        int // samples a step
	MicroBatchTokens int // tokens computed at a time; a longer sample is taken alone
	Schedule         optim.Schedule
	AdamW            optim.Settings
	MaxGradNorm      float64 // gradients of a larger norm are scaled down to it; 0 is off
	Seed             uint64  // of the order and of dropout
}

// Validate says what is wrong with s, or nothing.
func (s Settings) Validate() error {
	switch {
	case s.BatchSize < 1:
		return fmt.Errorf("batch_size: must be at least 1, got %d", s.BatchSize)
	case s.MicroBatchTokens < 1:
		return fmt.Errorf("micro_batch_tokens: must be at least 1, got %d", s.MicroBatchTokens)
	case !(s.MaxGradNorm >= 0) || math.IsInf(s.MaxGradNorm, 0):
		return fmt.Errorf("max_grad_norm: must not be negative, got %g", s.MaxGradNorm)
	}
	return errors.Join(s.Schedule.Validate(), s.AdamW.Validate())
}

// Trainer trains one adapter. It is used by one goroutine at a time.
type Trainer struct {
	settings Settings
	backend  ops.Backend
	model    *mistral.Model
	adapter  *lora.Adapter
	course   *course

	pass      *mistral.Pass
	optimizer *optim.AdamW
	before    ops.Buf // the adapter's Params before the last update
	zero      ops.Buf // one int32: the row that a copy takes

	steps  int   // made
	tokens int   // in them
	failed error // of the step that ended the training
	batch  mistral.Batch
}

// New returns a trainer that has made no step. The model stays as it is; the
// adapter is changed by every Step; its Config.Dropout is the dropout of the
// training. holdOut samples are only measured, and may be none. Both are kept. The
// trainer owns its buffers until Free. The error names a setting or a sample, or
// is the backend's.
func New(m *mistral.Model, a *lora.Adapter, samples, holdOut []Sample, s Settings) (*Trainer, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if len(samples) == 0 {
		return nil, errors.New("no samples to train on")
	}
	if err := errors.Join(checkSamples("training", samples, m.Config), checkSamples("hold-out", holdOut, m.Config)); err != nil {
		return nil, err
	}
	if err := a.NeedGrads(); err != nil {
		return nil, err
	}
	t := &Trainer{settings: s, backend: m.Backend(), model: m, adapter: a, course: newCourse(samples, s.BatchSize, s.Seed)}
	// No micro-batch is larger than a whole step can be.
	largest := max(longest(samples), longest(holdOut))
	rows := max(largest, min(s.MicroBatchTokens, s.BatchSize*largest))
	err := t.allocate(rows)
	if err != nil {
		t.Free()
		return nil, err
	}
	return t, nil
}

func (t *Trainer) allocate(rows int) (err error) {
	if t.pass, err = mistral.NewPass(t.model, t.adapter, rows); err != nil {
		return err
	}
	if t.optimizer, err = optim.NewAdamW(t.backend, t.adapter.Params.Len(), t.settings.AdamW); err != nil {
		return err
	}
	if t.before, err = t.backend.Alloc(ops.Float32, t.adapter.Params.Len()); err != nil {
		return err
	}
	t.zero, err = t.backend.Alloc(ops.Int32, 1)
	return err
}

// Free releases the trainer's buffers, not the model's or the adapter's.
func (t *Trainer) Free() {
	if t.pass != nil {
		t.pass.Free()
	}
	if t.optimizer != nil {
		t.optimizer.Free()
	}
	for _, b := range []ops.Buf{t.before, t.zero} {
		if b != nil {
			t.backend.Free(b)
		}
	}
}

// Adapter returns the adapter as the last successful step left it.
func (t *Trainer) Adapter() *lora.Adapter { return t.adapter }

// Settings returns what New was given.
func (t *Trainer) Settings() Settings { return t.settings }

// Steps is the number of steps made, those before Restore included.
func (t *Trainer) Steps() int { return t.steps }

// StepsPerEpoch is the number of steps that go once through all samples.
func (t *Trainer) StepsPerEpoch() int { return t.course.stepsPerEpoch() }

// StepsPerEpoch is the number of steps that go once through so many samples.
func StepsPerEpoch(samples, batchSize int) int { return (samples + batchSize - 1) / batchSize }

// Epoch is how often the steps made went through the samples.
func (t *Trainer) Epoch() float64 { return float64(t.steps) / float64(t.StepsPerEpoch()) }

// Step makes one step: the gradients of BatchSize samples, clipped, and an update.
//
// A loss, a gradient or an updated parameter that is not finite gives a
// *NonFiniteError; the adapter is then that of the step before, and the trainer
// makes no further steps. Where ctx is done nothing has changed.
func (t *Trainer) Step(ctx context.Context) (Metrics, error) {
	samples := t.course.at(t.steps)
	return t.step(ctx, t.course.microBatches(samples, t.settings.MicroBatchTokens))
}

// step is Step over given micro-batches.
func (t *Trainer) step(ctx context.Context, microBatches [][]int) (Metrics, error) {
	if t.failed != nil {
		return Metrics{}, t.failed
	}
	m := Metrics{Step: t.steps + 1, LearningRate: t.settings.Schedule.Rate(t.steps)}
	total, err := t.gradients(ctx, microBatches, &m)
	if err != nil {
		return Metrics{}, err
	}
	m.Figures = total.figures()
	m.GradNorm = t.optimizer.Norm(t.adapter.Grads)
	if err := t.check(m.Step, value{"loss", m.Loss}, value{"entropy", m.Entropy}, value{"grad_norm", m.GradNorm}); err != nil {
		return Metrics{}, err
	}
	if err := t.update(m); err != nil {
		return Metrics{}, err
	}
	t.steps++
	t.tokens += m.Tokens
	m.Epoch, m.TotalTokens = t.Epoch(), t.tokens
	return m, nil
}

// gradients computes the step's gradients: those of the mean loss over all
// supervised tokens of the step, whatever the micro-batches.
func (t *Trainer) gradients(ctx context.Context, microBatches [][]int, m *Metrics) (total sums, err error) {
	supervised := 0
	for _, samples := range microBatches {
		for _, i := range samples {
			supervised += t.course.samples[i].supervised()
		}
	}
	dropout := ops.Dropout{P: float32(t.adapter.Config.Dropout), Seed: key(t.settings.Seed, forDropout, t.steps)}
	t.backend.Fill(t.adapter.Grads, 0)
	for _, samples := range microBatches {
		if err := ctx.Err(); err != nil {
			return sums{}, err
		}
		t.pack(t.course.samples, samples)
		dropout.FirstRow = m.Tokens
		t.pass.Forward(&t.batch, dropout)
		var part sums
		part.add(t.pass.Backward(1 / float32(supervised)))
		total.join(part)
		m.Tokens += t.batch.Rows()
		m.MeanTokenAccuracy += part.figures().Accuracy / float64(len(microBatches))
	}
	return total, t.sync()
}

// pack fills the batch with the samples of the given numbers.
func (t *Trainer) pack(set []Sample, numbers []int) {
	t.batch.Reset()
	for _, i := range numbers {
		t.batch.Add(set[i].IDs, set[i].IsTarget)
	}
}

// update makes the step's update, or takes it back if the adapter is not finite
// afterwards.
func (t *Trainer) update(m Metrics) error {
	t.copy(t.before, t.adapter.Params)
	t.optimizer.Step(t.adapter.Params, t.adapter.Grads, m.LearningRate, optim.Clip(m.GradNorm, t.settings.MaxGradNorm))
	norm := t.optimizer.Norm(t.adapter.Params)
	if err := t.sync(); err != nil {
		return err
	}
	err := t.check(m.Step, value{"the norm of the updated adapter", norm})
	if err != nil {
		t.copy(t.adapter.Params, t.before)
	}
	return err
}

// copy copies src to dst: one row, as wide as the buffer.
func (t *Trainer) copy(dst, src ops.Buf) { t.backend.GatherRows(dst, src, t.zero, src.Len()) }

// sync waits for queued work. Its error ends the training: nobody knows what was
// computed.
func (t *Trainer) sync() error {
	err := t.backend.Sync()
	if err != nil {
		t.failed = fmt.Errorf("step %d: %w", t.steps+1, err)
	}
	return t.failed
}

type value struct {
	what string
	x    float64
}

// check ends the training if a value is not finite.
func (t *Trainer) check(step int, values ...value) error {
	for _, v := range values {
		if math.IsNaN(v.x) || math.IsInf(v.x, 0) {
			t.failed = &NonFiniteError{Step: step, What: v.what, Value: v.x}
			return t.failed
		}
	}
	return nil
}

// Evaluate measures samples with the adapter as it is, without dropout. They must
// not be longer than those that New was given. Nothing changes. Values that are
// not finite are returned as they are.
func (t *Trainer) Evaluate(ctx context.Context, samples []Sample) (Figures, error) {
	if n := longest(samples); n > t.pass.Capacity() {
		return Figures{}, fmt.Errorf("a sample of %d tokens, the trainer was made for up to %d", n, t.pass.Capacity())
	}
	c := newCourse(samples, len(samples), 0)
	all := make([]int, len(samples))
	for i := range all {
		all[i] = i
	}
	var total sums
	for _, part := range c.microBatches(all, t.pass.Capacity()) {
		if err := ctx.Err(); err != nil {
			return Figures{}, err
		}
		t.pack(samples, part)
		if t.batch.Rows() == 0 {
			break
		}
		t.pass.Forward(&t.batch, ops.Dropout{})
		total.add(t.pass.Measure())
	}
	return total.figures(), t.backend.Sync()
}
