package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"pipe/cache"
	"pipe/internal/faultfs"
	"pipe/pipeline"
	"pipe/stages"
)

// task is a step that is to be brought from its key to its record.
type task struct {
	runner  *Runner
	step    *pipeline.Step
	workers int
	release func() // gives the step's resources back; may be called again
	kill    <-chan struct{}

	inputs []boundInput
	world  environment
	key    cache.Key
}

// attempt is one go at a task.
type attempt struct {
	task
	preimage  []byte
	described func() error // waits until the pre-image is kept

	dir      string
	state    *keptState // of a resumable step
	record   cache.Record
	log      stageLog
	mu       sync.Mutex // guards what the stage may set from its goroutines: record.Withheld, record.Made, attached, shown
	attached []*attachment
	shown    time.Time // when progress was last passed on

	against *cache.Record // what the outputs are compared with, instead of being committed
	differs []string      // in what they differ
	kept    keptAttempt   // its folder, if it failed and stays
}

// stepResult is what a step's goroutine reports.
type stepResult struct {
	step     *pipeline.Step
	outcome  Outcome
	key      string
	why      string
	record   *cache.Record
	inputs   []boundInput // of a hit
	seconds  float64
	attempts int    // that were made
	check    string // what a check of a hit found
	differs  error  // from what was known; the result stays
	err      error
	damaged  *pipeline.Step // the step whose output is damaged and must be made again
	twin     *pipeline.Step // the step that is making the same, and must end first
}

// errDamagedInput means that an upstream object was found damaged.
type errDamagedInput struct{ from *pipeline.Step }

func (e *errDamagedInput) Error() string {
	return fmt.Sprintf("an output of stage %q is damaged in the store", e.from.Name)
}

// runStep takes a step from its key to its record. ctx, which is untilStop of atOnce, ends
// what can be begun anew; atOnce ends all. The step has its resources, and calls release
// as soon as it needs them no more.
func (r *Runner) runStep(atOnce, ctx context.Context, s *pipeline.Step, records map[*pipeline.Step]*cache.Record, workers int, release func()) (res stepResult) {
	started := r.Now()
	t := task{runner: r, step: s, workers: workers, release: release, kill: atOnce.Done()}
	res = stepResult{step: s}
	defer func() { res.seconds = r.Now().Sub(started).Seconds() }()

	var err error
	if t.inputs, err = r.bindInputs(ctx, s, records); err != nil {
		if damaged := (*errDamagedInput)(nil); errors.As(err, &damaged) {
			res.damaged = damaged.from
		}
		return failed(ctx, res, err)
	}
	if t.world, err = r.environment(ctx, s); err != nil {
		return failed(ctx, res, err)
	}
	if res.damaged = r.damagedScores(s, records); res.damaged != nil {
		return failed(ctx, res, &errDamagedInput{res.damaged})
	}
	t.key = makeKey(s, t.inputs, t.world)
	res.key = t.key.String()
	recompute := r.isRecomputed(s) && !r.claims.isDone(t.key)
	if !recompute && t.hit(&res) {
		if r.checks(s) {
			return t.checked(ctx, res)
		}
		return res
	}
	if !r.mayRun(s) {
		return failed(ctx, res, errors.New(cmp.Or(res.why, "its result is not known")+", and it is not among the stages to run"))
	}
	return t.make(atOnce, ctx, res, started, recompute)
}

// make computes what is not known, or is to be computed again, unless another run or a
// step like this one has done so meanwhile.
func (t *task) make(atOnce, ctx context.Context, res stepResult, started time.Time, recompute bool) stepResult {
	r, s := t.runner, t.step
	claimed := []cache.Key{t.key}
	if s.Params.Resumable() {
		claimed = append(claimed, stateKey(s, t.inputs, t.world))
	}
	if res.twin = r.claims.take(s, claimed); res.twin != nil {
		return res
	}
	defer r.claims.give(claimed)
	twinMade := r.claims.isDone(t.key) // since we looked
	recompute = recompute && !twinMade
	a := t.attempt()
	unlock, err := r.lockKey(ctx, t.key, func(holder string) {
		a.log.show("info", "another run computes this stage; waiting for it", "holder", holder)
	})
	if err != nil {
		return failed(ctx, res, err)
	}
	defer unlock()
	if !recompute && t.hit(&res) { // while we waited
		if !twinMade {
			res.why = "computed by another run"
		}
		return res
	}
	switch {
	case recompute:
		res.why = "asked for by --recompute"
	case res.why == "":
		res.why = r.explain(s, t.inputs, a.preimage)
	}
	r.emit(a.startEvent(res.why))
	if a.described != nil {
		defer a.described()
	}
	fresh := recompute
	run := func(a *attempt) error { return a.run(ctx, started, recompute) }
	if s.Params.Resumable() {
		run = func(a *attempt) error {
			defer func() { fresh = false }() // another try goes on from this one's state
			return a.runResumable(ctx, atOnce, started, fresh, recompute)
		}
	}
	a, res.attempts, err = a.withRetries(ctx, run)
	if err != nil {
		var damaged *errDamagedInput
		if errors.As(err, &damaged) {
			res.damaged = damaged.from
		}
		a.keep()
		res = failed(ctx, res, err)
		if res.outcome == Interrupted && a.state != nil && a.state.saved && !errors.Is(err, stages.ErrStopped) {
			res.why = "the next run goes on from what it had saved"
		}
		return res
	}
	res.outcome, res.record = Ran, &a.record
	r.claims.done(t.key)
	return res
}

// attempt is the first one at the task.
func (t *task) attempt() *attempt {
	a := &attempt{task: *t, preimage: makePreimage(t.step, t.inputs, t.world)}
	a.log = stageLog{runner: t.runner, stage: t.step.Name}
	return a
}

// hit looks the key up. If there is a usable record, its log is shown again and res
// is that of a hit; else res says why a known record cannot be used.
func (t *task) hit(res *stepResult) bool {
	record, missing := t.runner.Store.Lookup(t.key)
	for _, port := range t.vital() {
		if record == nil {
			break
		}
		if o, made := record.Outputs[port]; made {
			if err := t.runner.Store.Verify(o); err != nil {
				record, missing = nil, fmt.Sprintf("output %s: %v", port, err)
			}
		}
	}
	res.why = missing
	if record == nil {
		return false
	}
	res.outcome, res.record = Cached, record
	res.inputs = t.inputs
	if t.runner.mayRun(t.step) {
		t.runner.replay(t.step, record)
	}
	return true
}

// vital lists the outputs whose stored bytes must be right for a hit: what is to be
// published is about to be used, and what others are compared with must be what was made.
func (t *task) vital() []string {
	var ports []string
	if t.runner.checks(t.step) {
		for _, o := range t.step.Outputs {
			ports = append(ports, o.Name)
		}
		return ports
	}
	for _, p := range t.step.Publish {
		ports = append(ports, p.Port)
	}
	return ports
}

// failed is the result of a step that ended with err. What ends with the run was
// interrupted.
func failed(ctx context.Context, res stepResult, err error) stepResult {
	res.outcome, res.err = Failed, err
	switch {
	case errors.Is(err, stages.ErrStopped):
		res.outcome, res.err, res.why = Interrupted, nil, "its state is saved, and the next run goes on from there"
	case isBusy(err):
		res.outcome, res.why = Skipped, err.Error()
	case ctx.Err() != nil:
		res.outcome, res.err, res.why = Interrupted, nil, "nothing of it is kept"
	}
	return res
}

// runResumable is run with a state; fresh throws away what it holds. Whoever waits for the state gives up when the
// run is to stop; the stage itself is then asked to end, and has until atOnce is done.
func (a *attempt) runResumable(ctx, atOnce context.Context, started time.Time, fresh, recompute bool) (err error) {
	if a.state, err = a.openState(ctx, fresh); err != nil {
		return err
	}
	defer func() { a.state.close(err == nil) }()
	return a.run(atOnce, started, recompute)
}

// run executes the kind in a private folder and commits what it made.
func (a *attempt) run(ctx context.Context, started time.Time, recompute bool) (err error) {
	private, err := a.runner.folders.take()
	if err != nil {
		return err
	}
	defer func() { a.leave(err, private.release) }()
	defer a.closeAttachments()
	a.dir = private.dir
	a.useScratchState()
	inputs, err := a.fetchInputs()
	if err != nil {
		return err
	}
	a.keepInputs(ctx)
	outputs := make(map[string]string, len(a.step.Outputs))
	for _, o := range a.step.Outputs {
		outputs[o.Name] = filepath.Join(a.dir, "out", o.Name)
	}
	a.runner.folders.foresee(a.runner.toCome.Load())
	if err := a.call(ctx, inputs, outputs); err != nil {
		return &stageFailure{a.inUsersWords(err, inputs)}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.checkInputs(ctx); err != nil {
		return err
	}
	if err := a.checkTools(ctx); err != nil {
		return err
	}
	if err := a.checkOutputs(); err != nil {
		return &stageFailure{err}
	}
	if err := a.checkLeaks(ctx); err != nil {
		return err
	}
	a.release() // no other attempt will follow
	return a.finish(ctx, started, recompute)
}

// fetchInputs verifies the inputs and puts them where the stage can read them.
func (a *attempt) fetchInputs() (map[string]stages.Input, error) {
	inputs := make(map[string]stages.Input, len(a.inputs))
	for _, b := range a.inputs {
		port := b.input.Port.Name
		dst := filepath.Join(a.dir, "in", port)
		if b.pin != nil {
			if err := b.pin.Fetch(dst); err != nil {
				return nil, fmt.Errorf("input %s: %w", port, err)
			}
			inputs[port] = stages.Input{Path: dst, Digest: b.pin.Digest, Reference: b.pin.Reference}
			continue
		}
		o := b.content.Object
		if b.gathered != nil {
			if err := b.gathered.ready(a.runner.Store); err != nil {
				return nil, fmt.Errorf("input %s: %w", port, err)
			}
		} else if err := a.runner.Store.Verify(o); err != nil {
			if errors.Is(err, cache.ErrDamaged) {
				return nil, &errDamagedInput{b.input.From}
			}
			return nil, fmt.Errorf("input %s: %w", port, err)
		}
		if err := a.runner.Store.Materialize(o, dst); err != nil {
			return nil, fmt.Errorf("input %s: %w", port, err)
		}
		inputs[port] = stages.Input{Path: dst, Digest: o.Digest.String()}
	}
	return inputs, nil
}

// userError is an error whose text names inputs as the user does.
type userError struct {
	text string
	err  error
}

func (e *userError) Error() string { return e.text }
func (e *userError) Unwrap() error { return e.err }

// inUsersWords replaces the private paths of inputs in an error's text: by the
// source as it was given, or by the stage and port that made it. Where the machine is to
// blame the folder of the attempt stays: it says on which disk.
func (a *attempt) inUsersWords(err error, inputs map[string]stages.Input) error {
	words := usersWords{}
	if !IsInfrastructure(err) {
		words[a.dir+string(filepath.Separator)] = ""
	}
	for _, b := range a.inputs {
		name := b.input.Source
		if !b.input.IsSource() {
			name = b.input.Output()
		}
		words[inputs[b.input.Port.Name].Path] = name
	}
	return &userError{text: words.in(err.Error()), err: err}
}

// unlinkInputs takes the links to stored inputs away, where checkInputs has not
// done it, so that the store still knows the blobs for verified.
func (a *attempt) unlinkInputs() {
	for _, b := range a.inputs {
		dst := filepath.Join(a.dir, "in", b.input.Port.Name)
		if _, err := faultfs.Lstat(dst); err == nil && b.pin == nil {
			_ = a.runner.Store.Dematerialize(b.content.Object, dst) // the stage has failed already
		}
	}
}
