// Package trainqlora is the stage kind that trains a low-rank adapter on a 4-bit
// base.
//
// It is the policy of package train put behind parameters: what it adds is files.
// Checkpoints are PEFT folders; metrics are JSON lines. Neither holds a clock: rates
// and times are in an attachment.
package trainqlora

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pipe/internal/metrics"
	"pipe/runtime/chat"
	"pipe/runtime/cpu"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/nf4"
	"pipe/runtime/ops"
	"pipe/runtime/tokenizer"
	"pipe/runtime/tokens"
	"pipe/runtime/train"
	"pipe/stages"
)

// Kind is the stage kind "train-qlora".
var Kind = stages.Checked(stages.Define("train-qlora", "1+ops"+ops.Version,
	"Trains a LoRA adapter on all seven linears of a frozen 4-bit Mistral base.", run), check)

// Inputs of the kind.
type Inputs struct {
	Tokens stages.Input `port:"tokens" type:"folder" help:"tokens and masks, of tokenize-and-mask"`
	Base   stages.Input `port:"base" type:"folder" help:"the quantised base, of quantize-base"`
}

// Outputs of the kind.
type Outputs struct {
	Checkpoints string `port:"checkpoints" type:"folder" help:"PEFT adapters, checkpoint-STEP each, with chat.json"`
	Metrics     string `port:"metrics" type:"file" help:"JSON Lines, as pipe metrics reads them of any stage: {\"step\":n, numbers…} a step; {\"checkpoint\":name,\"step\":n, numbers…, \"hold_out\":{numbers…},\"health\":…} a checkpoint; {\"end\":why,\"kept\":[names]} last"`
}

func run(ctx context.Context, env *stages.Env, p Params, in Inputs, out Outputs) error {
	info, samples, holdOut, err := readTokens(in)
	if err != nil {
		return err
	}
	backend, err := cpu.Open(env.Device.Tier, env.Workers)
	if err != nil {
		return fmt.Errorf("%w: %w", stages.ErrDevice, err)
	}
	defer backend.Close()
	env.Note("tier", backend.Tier())
	if err := checkQuantized(in.Base.Path); err != nil {
		return err
	}
	model, err := mistral.Load(backend, in.Base.Path)
	if err != nil {
		return err
	}
	adapter, err := lora.New(backend, model.Config.Base(), lora.Config{Rank: p.Rank, Alpha: p.Alpha, Dropout: p.Dropout, Base: info.Base.Reference}, uint64(p.Seed))
	if err != nil {
		return err
	}
	settings, plan := p.settings(len(samples)), p.plan()
	if err := errors.Join(settings.Validate(), plan.Validate(settings.Schedule, len(holdOut) > 0)); err != nil {
		return err
	}
	advise(env, plan.Advise(settings, len(samples)))
	trainer, err := train.New(model, adapter, samples, holdOut, settings)
	if err != nil {
		return err
	}
	env.Log.Info("training", "device", "cpu", "tier", backend.Tier(), "workers", env.Workers, "records", len(samples), "held out", len(holdOut), "steps an epoch", trainer.StepsPerEpoch())
	s := session{env: env, params: p, info: info, trainer: trainer, dir: out.Checkpoints, epochTokens: tokensOf(samples), tier: backend.Tier(), inState: map[string][]string{}}
	if err := s.open(out); err != nil {
		return err
	}
	return errors.Join(s.train(ctx, plan, holdOut), s.close())
}

// train runs the training, from the start or from where it was interrupted.
func (s *session) train(ctx context.Context, plan train.Plan, holdOut []train.Sample) error {
	before, err := s.restore()
	if err != nil {
		return err
	}
	env := s.env
	outcome, err := train.Run(ctx, s.trainer, plan, holdOut, before, s.hooks())
	switch {
	case err != nil:
		return err
	case outcome.Reason == train.Interrupted:
		env.Log.Info("training interrupted", "step", outcome.Steps)
		if s.apart {
			return context.Canceled
		}
		return stages.ErrStopped
	case env.State != nil && outcome.Reason != train.ReachedSteps && outcome.Reason != train.ReachedTime:
		env.State.Discard() // a larger budget would change nothing
	}
	env.Note("stopped_by", string(outcome.Reason))
	env.Log.Info("training ended", "by", string(outcome.Reason), "steps", outcome.Steps, "epochs", s.trainer.Epoch(), "health", orWord(string(outcome.Health), "not judged yet"), "checkpoints kept", len(outcome.Checkpoints))
	if err := s.line(ending{End: string(outcome.Reason), Steps: outcome.Steps, Kept: names(outcome.Checkpoints)}); err != nil {
		return err
	}
	return s.attachEvents()
}

// checkQuantized refuses a base in full precision: the adapter would belong to a
// model that nobody serves it with.
func checkQuantized(dir string) error {
	_, files, err := mistral.Open(dir)
	if err != nil {
		return err
	}
	defer files.Close()
	if len(nf4.Quantized(files)) == 0 {
		return fmt.Errorf("%s is not quantised; connect ${quantize-base.base} to the port base", dir)
	}
	return nil
}

// readTokens reads the data set and checks that it belongs to the base.
func readTokens(in Inputs) (info chat.Info, samples, holdOut []train.Sample, err error) {
	if info, err = chat.ReadInfo(in.Tokens.Path); err != nil {
		return
	}
	base, err := chat.ReadOrigin(in.Base.Path)
	if errors.Is(err, os.ErrNotExist) {
		base, err = chat.Base{Reference: "sha256:" + in.Base.Digest, Digest: in.Base.Digest}, nil
	}
	if err != nil {
		return
	}
	info.Base = &base
	if err = checkTokenizer(in.Base.Path, info.Tokenizer); err != nil {
		return
	}
	samples, holdOut, err = readSamples(in.Tokens.Path)
	return
}

// readSamples reads what is trained on and what is held out.
func readSamples(path string) (samples, holdOut []train.Sample, err error) {
	records, err := tokens.Read(path)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range records {
		sample := train.Sample{IDs: r.IDs, IsTarget: make([]bool, len(r.Mask))}
		for i, m := range r.Mask {
			sample.IsTarget[i] = m == 1
		}
		if r.Holdout {
			holdOut = append(holdOut, sample)
		} else {
			samples = append(samples, sample)
		}
	}
	if len(samples) == 0 {
		err = fmt.Errorf("%s: all %d records are held out: none is left to train on", path, len(records))
	}
	return samples, holdOut, err
}

// checkTokenizer refuses tokens of another tokenizer than the base's: the numbers
// would mean other words.
func checkTokenizer(base, digest string) error {
	tok, err := tokenizer.Open(filepath.Join(base, "tokenizer.model"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // the base came without one
	}
	if err != nil {
		return err
	}
	if tok.Digest() != digest {
		return fmt.Errorf("the tokens were made with tokenizer %.12s, the base has %.12s: connect both stages to one model", digest, tok.Digest())
	}
	return nil
}

// session writes what a training makes.
type session struct {
	env     *stages.Env
	params  Params
	info    chat.Info
	trainer *train.Trainer
	dir     string

	epochTokens int // of the samples, in all
	metrics     *os.File
	timing      io.WriteCloser
	times       bytes.Buffer // what timing was given
	started     time.Time

	tier    string              // of the CPU
	tiers   string              // all that have computed, if several
	spent   time.Duration       // before this attempt
	inState map[string][]string // files of each checkpoint that the saved state holds
	apart   bool                // a longer training's state is there, and stays
}

// ending is the last line of the metrics.
type ending struct {
	End   string   `json:"end"`
	Steps int      `json:"steps"`
	Kept  []string `json:"kept"`
}

// saved is the line of a checkpoint in the metrics.
type saved struct {
	Name string `json:"checkpoint"`
	train.Checkpoint
}

func (s *session) open(out Outputs) error {
	err := os.Mkdir(out.Checkpoints, 0o777)
	if err == nil {
		s.metrics, err = os.Create(out.Metrics)
	}
	if err == nil {
		s.timing, err = s.env.Attach(metrics.TimingName)
	}
	s.started = s.env.Now()
	return err
}

func (s *session) close() error { return errors.Join(s.metrics.Close(), s.timing.Close()) }

// line appends to the metrics.
func (s *session) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.metrics.Write(append(b, '\n'))
	return err
}

func (s *session) hooks() train.Hooks {
	return train.Hooks{
		Elapsed:    func() time.Duration { return s.env.Now().Sub(s.started) },
		Step:       s.step,
		Checkpoint: s.checkpoint,
		Save:       s.save, SaveEvery: saveEvery,
		Stop: s.env.Stop,
		Drop: func(c train.Checkpoint) error { return os.RemoveAll(filepath.Join(s.dir, name(c))) },
	}
}

func (s *session) step(r train.Report) {
	// A full disk shows in the next write that can report it, a checkpoint's.
	_ = s.line(r.Metrics)
	s.time(s.stepTime(r))
	s.adviseSpeed(r)
	health := ""
	if r.Health != train.Unknown {
		health = ", " + string(r.Health)
	}
	text := fmt.Sprintf("loss %.3f, accuracy %.1f %%, entropy %.3f, epoch %.1f%s", r.Loss, 100*r.Accuracy, r.Entropy, r.Epoch, health)
	s.env.Progress(stages.Progress{Done: float64(r.Step), Total: float64(r.End), Unit: "steps", Rate: r.TokensPerSecond, RateUnit: "tokens", Left: r.Left, Text: text, Values: s.params.values(r.Figures)})
	if s.params.LogSteps > 0 && r.Step%s.params.LogSteps == 0 {
		s.env.Log.Info("step "+fmt.Sprint(r.Step), "loss", r.Loss, "accuracy", r.Accuracy, "entropy", r.Entropy, "grad norm", r.GradNorm, "learning rate", r.LearningRate, "epoch", r.Epoch)
	}
}

func (s *session) checkpoint(c train.Checkpoint) error {
	dir := filepath.Join(s.dir, name(c))
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	if err := s.trainer.Adapter().Write(dir); err != nil {
		return err
	}
	if err := chat.WriteInfo(dir, s.info); err != nil {
		return err
	}
	fields := []any{"epoch", c.Epoch, "loss", c.Loss, "accuracy", c.Accuracy, "entropy", c.Entropy}
	if c.HoldOut != nil {
		fields = append(fields, "hold-out loss", c.HoldOut.Loss)
	}
	if c.Health != train.Unknown {
		fields = append(fields, "health", string(c.Health))
	}
	if len(c.Signs) > 0 {
		s.env.Log.Warn(name(c)+" shows signs of overfitting", append(fields, "signs", strings.Join(c.Signs, "; "))...)
	} else {
		s.env.Log.Info(name(c), fields...)
	}
	return s.line(saved{Name: name(c), Checkpoint: c})
}

func name(c train.Checkpoint) string { return fmt.Sprintf("checkpoint-%d", c.Step) }

func names(list []train.Checkpoint) []string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = name(c)
	}
	return out
}

func orWord(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
