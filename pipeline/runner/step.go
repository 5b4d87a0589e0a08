package runner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"pipe/cache"
	"pipe/internal/faultfs"
	"pipe/pipeline"
	"pipe/stages"
)

// attempt is one go at a step.
type attempt struct {
	runner  *Runner
	step    *pipeline.Step
	workers int
	release func() // gives the step's resources back; may be called again

	inputs    []boundInput
	world     environment
	key       cache.Key
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
	attempts int   // that were made
	differs  error // from what was known; the result stays
	err      error
	damaged  *pipeline.Step // the step whose output is damaged and must be made again
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
	a := &attempt{runner: r, step: s, workers: workers, release: release}
	a.log = stageLog{runner: r, stage: s.Name}
	res = stepResult{step: s}
	defer func() { res.seconds = r.Now().Sub(started).Seconds() }()

	var err error
	if a.inputs, err = r.bindInputs(ctx, s, records); err != nil {
		if damaged := (*errDamagedInput)(nil); errors.As(err, &damaged) {
			res.damaged = damaged.from
		}
		return failed(ctx, res, err)
	}
	if a.world, err = r.environment(ctx, s); err != nil {
		return failed(ctx, res, err)
	}
	if res.damaged = r.damagedScores(s, records); res.damaged != nil {
		return failed(ctx, res, &errDamagedInput{res.damaged})
	}
	a.key, a.preimage = makeKey(s, a.inputs, a.world)
	res.key = a.key.String()
	recompute := r.isRecomputed(s)
	if !recompute && a.hit(&res) {
		return a.checked(ctx, res)
	}
	if !r.mayRun(s) {
		return failed(ctx, res, errors.New(cmp.Or(res.why, "its result is not known")+", and it is not among the stages to run"))
	}
	unlock, err := r.lockKey(ctx, a.key, func(holder string) {
		a.log.Info("another run computes this stage; waiting for it", "holder", holder)
	})
	if err != nil {
		return failed(ctx, res, err)
	}
	defer unlock()
	if !recompute && a.hit(&res) { // while we waited
		res.why = "computed by another run"
		return res
	}
	switch {
	case recompute:
		res.why = "asked for by --recompute"
	case res.why == "":
		res.why = r.explain(s, a.inputs, a.preimage)
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
		a.kept.tell(a)
		res = failed(ctx, res, err)
		if res.outcome == Interrupted && a.state != nil && a.state.saved && !errors.Is(err, stages.ErrStopped) {
			res.why = "the next run goes on from what it had saved"
		}
		return res
	}
	res.outcome, res.record = Ran, &a.record
	return res
}

// hit looks the key up. If there is a usable record, its log is shown again and res
// is that of a hit; else res says why a known record cannot be used.
func (a *attempt) hit(res *stepResult) bool {
	record, missing := a.runner.Store.Lookup(a.key)
	for _, p := range a.step.Publish {
		if record == nil {
			break
		}
		// What is to be published is about to be used: its bytes must be right.
		if o, made := record.Outputs[p.Port]; made {
			if err := a.runner.Store.Verify(o); err != nil {
				record, missing = nil, fmt.Sprintf("output %s: %v", p.Port, err)
			}
		}
	}
	res.why = missing
	if record == nil {
		return false
	}
	res.outcome, res.record = Cached, record
	res.inputs = a.inputs
	if a.runner.mayRun(a.step) {
		a.log.replay(record)
	}
	return true
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
	dir, release, err := a.runner.Store.NewAttempt()
	if err != nil {
		return err
	}
	defer func() { a.leave(err, release) }()
	defer a.closeAttachments()
	a.dir = dir
	for _, sub := range []string{"in", "out", "scratch"} {
		if err := faultfs.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			return err
		}
	}
	a.useScratchState()
	inputs, err := a.fetchInputs()
	if err != nil {
		return err
	}
	a.keepInputs(ctx)
	outputs := make(map[string]string, len(a.step.Outputs))
	for _, o := range a.step.Outputs {
		outputs[o.Name] = filepath.Join(dir, "out", o.Name)
	}
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

// call runs the kind's code. A panic in it fails the stage, not the run.
func (a *attempt) call(ctx context.Context, inputs map[string]stages.Input, outputs map[string]string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	return timedOut(ctx, a.step.Kind.Run(ctx, a.env(), a.step.Params, inputs, outputs))
}

func (a *attempt) env() *stages.Env {
	env := &stages.Env{
		Out: filepath.Join(a.dir, "out"), Scratch: filepath.Join(a.dir, "scratch"),
		Device: a.runner.Device, Workers: a.workers, Now: a.runner.Now,
		Vars: a.world.vars, Mask: a.runner.maskWriter(),
		Log:      &a.log,
		Progress: a.progress,
		Attach:   a.attach, Reproduce: a.kept.reproduce,
		Withhold: func(reason string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.record.Withheld = a.runner.mask().Text(reason)
		},
		Note: func(name, value string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			value = a.runner.mask().Text(value)
			switch name {
			case "tier":
				a.record.Made.Tier = value
			case "stopped_by":
				a.record.Made.StoppedBy = value
			}
		},
	}
	if a.state != nil {
		env.State, env.Stop = a.state, a.runner.Stop
	}
	return env
}

// progressPause is how often a stage's progress is passed on.
const progressPause = 100 * time.Millisecond

func (a *attempt) progress(p stages.Progress) {
	a.mu.Lock()
	now := a.runner.Now()
	due := now.Sub(a.shown) >= progressPause || p.Total > 0 && p.Done >= p.Total
	if due {
		a.shown = now
	}
	a.mu.Unlock()
	if due {
		a.runner.emit(ProgressEvent(a.step.Name, p))
	}
}

// attachment is a file that a stage adds to its record.
type attachment struct {
	io.WriteCloser // through the mask
	name, path     string

	once sync.Once
	err  error
}

// Close hands on what the mask holds back. It may be called again.
func (f *attachment) Close() error {
	f.once.Do(func() { f.err = f.WriteCloser.Close() })
	return f.err
}

func (a *attempt) attach(name string) (io.WriteCloser, error) {
	if !stages.ValidAttachmentName(name) {
		return nil, fmt.Errorf("internal error: attachment %q: a name is made of lower-case letters, digits, dots and dashes", name)
	}
	dir := filepath.Join(a.dir, "attach") // most stages attach nothing
	if err := faultfs.MkdirAll(dir, 0o777); err != nil {
		return nil, faultOf(err)
	}
	path := filepath.Join(dir, name)
	f, err := faultfs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, faultOf(err)
	}
	file := &attachment{WriteCloser: a.runner.maskFile(f), name: name, path: path}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attached = append(a.attached, file)
	return file, nil
}

// checkInputs fails the stage if an input is no longer what it was: what the stage
// read may be neither the old nor the new content.
func (a *attempt) checkInputs(ctx context.Context) error {
	for _, b := range a.inputs {
		if b.pin == nil {
			port := b.input.Port.Name
			err := a.runner.Store.Dematerialize(b.content.Object, filepath.Join(a.dir, "in", port))
			switch {
			case err == nil:
			case !errors.Is(err, cache.ErrDamaged) || IsInfrastructure(err): // nobody knows what the stage did
				return fmt.Errorf("input %s: %w", port, err)
			default:
				return fmt.Errorf("input %s (%s) changed while running: %w; a stage must not write to its inputs", port, b.input.Output(), err)
			}
			continue
		}
		path, err := b.pin.Changed(ctx, a.runner.Store)
		if err != nil {
			return err
		}
		if path != "" {
			return fmt.Errorf("input %s changed while running", path)
		}
	}
	return nil
}

func (a *attempt) checkOutputs() error {
	var missing []error
	declared := map[string]bool{}
	for _, o := range a.step.Outputs {
		declared[o.Name] = true
		info, err := faultfs.Stat(filepath.Join(a.dir, "out", o.Name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			if !o.Optional {
				missing = append(missing, fmt.Errorf("output %q was not written", o.Name))
			}
		case err != nil:
			return err
		case !a.step.Kind.Open && info.IsDir() != o.Folder:
			missing = append(missing, fmt.Errorf("internal error: output %q is no %s", o.Name, o.Type()))
		}
	}
	entries, err := faultfs.ReadDir(filepath.Join(a.dir, "out"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !declared[e.Name()] {
			missing = append(missing, fmt.Errorf("%q was written beside the outputs and is not declared", e.Name()))
		}
	}
	return errors.Join(missing...)
}

// commit stores outputs, attachments, pre-image and log, and then the record.
func (a *attempt) commit(ctx context.Context, started time.Time, recompute bool) error {
	store, record := a.runner.Store, &a.record
	record.Key, record.Kind, record.Version = a.key, a.step.Kind.Name, a.step.Kind.Version
	record.Outputs = map[string]cache.Object{}
	for _, o := range a.step.Outputs {
		path := filepath.Join(a.dir, "out", o.Name)
		if _, err := faultfs.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		object, err := store.Put(ctx, path)
		if err != nil {
			return fmt.Errorf("output %s: %w", o.Name, err)
		}
		record.Outputs[o.Name] = object
	}
	for _, f := range a.attached {
		if err := f.Close(); err != nil {
			return fmt.Errorf("attachment %s: %w", f.name, err)
		}
		object, err := store.Put(ctx, f.path)
		if err != nil {
			return fmt.Errorf("attachment %s: %w", f.name, err)
		}
		if record.Attachments == nil {
			record.Attachments = map[string]cache.Object{}
		}
		record.Attachments[f.name] = object
	}
	if err := a.describe(); err != nil {
		return err
	}
	if recompute {
		a.compare()
	}
	if lines := a.log.lines(); len(lines) > 0 {
		log, err := store.PutCompressed(lines)
		if err != nil {
			return err
		}
		record.Log = &log
	}
	record.Made.Time, record.Made.Seconds, record.Made.Pipe = started.UTC(), a.runner.Now().Sub(started).Seconds(), a.runner.Version
	adopted, err := store.Commit(record, recompute)
	if err == nil {
		a.record = *adopted
	}
	return err
}

func (a *attempt) closeAttachments() {
	for _, f := range a.attached {
		_ = f.Close() // again, if the stage is committed; else nothing is kept
	}
}

// compare says whether a recomputation gave the bytes that the record had.
func (a *attempt) compare() {
	old, err := a.runner.Store.ReadRecord(a.key)
	if err != nil {
		return
	}
	for _, o := range a.step.Outputs {
		before, now := old.Outputs[o.Name], a.record.Outputs[o.Name]
		if before == now {
			a.log.show("info", "recomputed: the same bytes", "output", o.Name)
		} else {
			a.log.show("warn", "recomputed: other bytes than before", "output", o.Name, "before", before.Digest.Short(), "now", now.Digest.Short())
		}
	}
}

// stageLog takes a stage's log: it shows entries as they come and keeps them for
// the record.
type stageLog struct {
	runner *Runner
	stage  string

	mu   sync.Mutex // guards kept and full
	kept bytes.Buffer
	full bool

	silent bool // nothing is shown: it was all said when the result was made
}

// logEntry is a line of a stored log.
type logEntry struct {
	Level   string  `json:"level"`
	Message string  `json:"message"`
	Fields  []Field `json:"fields,omitempty"`
}

func (l *stageLog) Info(message string, fields ...any) { l.add("info", message, fields) }
func (l *stageLog) Warn(message string, fields ...any) { l.add("warn", message, fields) }

// keptLog is how much of a stage's log is kept for the record, in bytes. It is all
// shown as it comes.
const keptLog = 16 << 20

func (l *stageLog) add(level, message string, args []any) {
	l.keep(logEntry{Level: level, Message: l.runner.mask().Text(message), Fields: l.runner.maskFields(fieldsOf(args))})
	l.show(level, message, args...)
}

// show shows an entry that is not kept: it concerns this run, not the result.
func (l *stageLog) show(level, message string, args ...any) {
	if l.silent {
		return
	}
	l.runner.emit(Event{Type: "log", Stage: l.stage, Level: level, Message: l.runner.mask().Text(message), Fields: l.runner.maskFields(fieldsOf(args))})
}

func (l *stageLog) keep(e logEntry) {
	b, err := json.Marshal(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.full {
		return
	}
	if l.kept.Len()+len(b) > keptLog {
		l.full = true
		b, _ = json.Marshal(logEntry{Level: "warn", Message: "the rest of this log was not kept"})
	}
	l.kept.Write(append(b, '\n'))
}

// resume puts the log of the attempt that is gone on from before what was said since.
func (l *stageLog) resume(lines []byte) {
	lines = l.runner.maskLog(lines)
	l.mu.Lock()
	defer l.mu.Unlock()
	since := bytes.Clone(l.kept.Bytes())
	l.kept.Reset()
	l.kept.Write(lines)
	l.kept.Write(since)
}

func (l *stageLog) lines() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.kept.Bytes())
}

// replay shows the log of a hit again. A log that cannot be read does not make the
// hit a miss.
func (l *stageLog) replay(r *cache.Record) {
	for _, e := range RecordLog(l.runner.Store, r) {
		e.Stage, e.Replayed = l.stage, true
		l.runner.emit(e)
	}
}

// RecordLog returns what a stage said until its result was there, in all attempts, as
// log events; what of it can be read.
func RecordLog(store *cache.Store, r *cache.Record) []Event {
	if r.Log == nil {
		return nil
	}
	b, err := store.ReadCompressed(*r.Log)
	if err != nil {
		return nil
	}
	var events []Event
	for line := range bytes.Lines(b) {
		var e logEntry
		if json.Unmarshal(line, &e) == nil {
			events = append(events, Event{Type: "log", Level: e.Level, Message: e.Message, Fields: e.Fields})
		}
	}
	return events
}
