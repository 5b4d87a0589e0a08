package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pipe/cache"
	"pipe/internal/problem"
	"pipe/internal/redact"
	"pipe/pipeline"
	"pipe/pipeline/source"
	"pipe/stages"
)

// Runner executes one plan, once.
type Runner struct {
	Plan    *pipeline.Plan
	Store   *cache.Store
	Sources source.Sources
	Sink    Sink

	// Selectors of stages (pipeline.Plan.Select).
	Targets    []string // to bring up to date; none is all
	Only       []string // to run these alone: what they read must be known
	Downstream []string // to run these and those that depend on them: what else they read must be known
	Recompute  []string // to run even if they are known
	Jobs       int      // stages at once; 0 is one a processor
	KeepGoing  bool     // a source that is not there fails its stage and not the run
	Unlisted   bool     // the run is nobody's business: it leaves no history and publishes nothing
	IfChanged  bool     // a run in which nothing happens leaves no history

	CheckCache bool // run stages whose results are known once more, and compare
	KeepFailed bool // keep the folders of attempts that fail

	MaxWait time.Duration // how long to wait for other runs and what they compute, in all; 0 is without end
	Waited  time.Duration // what of it is gone already

	Promote     bool // publish what is worse than what is published, or was rolled back
	ReplaceBase bool // publish over what belongs to another base

	Machine pipeline.Resources // what there is to share out
	Device  stages.Device
	Version string // of pipe, for records

	Dir string // the working directory, for the history
	Now func() time.Time
	// Stop is closed to end the run soon: resumable stages save their state, others
	// are abandoned, and no stage is started any more. Run's context ends it at once.
	Stop <-chan struct{}
	// LookupEnv finds what env: and secrets: name; nil is os.LookupEnv.
	LookupEnv func(name string) (string, bool)

	id      string
	chosen  *selection
	history *history
	records map[string]*cache.Record // of the run's stages, when it has ended

	maskOnce sync.Once
	masked   *redact.Mask // see mask

	lastOnce sync.Once
	last     map[string]StageResult // of earlier runs, by stage

	claims  claims
	folders *folders
	toCome  atomic.Int64 // how many steps have not begun, be it that they never will
	pinMu   sync.Mutex   // guards pins and tools
	pins    map[string]source.Pin
	tools   map[string]cache.Pin // by path

	sinkMu sync.Mutex // guards Sink and history

	kept sync.Map // cache.Object of workspace inputs that the run has kept

	waitMu sync.Mutex    // guards waited
	waited time.Duration // of MaxWait
}

// maxRemakes bounds how often a run makes one stage again because its outputs
// were found damaged: a disk that damages what it is given is no use.
const maxRemakes = 3

// Preflight finds what would stop the run before any work is done: parameters
// that this build cannot honour, sources that are not there, resources that the
// machine lacks. The error is a problem.List with all of it, or the system's if the
// machine does not let it look.
func (r *Runner) Preflight() error {
	sel, problems := r.selected()
	steps := sel.steps
	sources := r.workspaceInputs()
	seen := map[string]bool{}
	var running []*pipeline.Step
	for _, s := range steps {
		for _, in := range s.Inputs {
			if in.IsSource() && !seen[in.Source] {
				seen[in.Source] = true
				list, err := r.checkSource(s, in)
				if err != nil {
					return err
				}
				problems = append(problems, list...)
			}
		}
		if !r.mayRun(s) {
			continue
		}
		running = append(running, s)
		for _, p := range s.Params.Refused() {
			p.Message = fmt.Sprintf("stage %q: %s", s.Name, p.Message)
			problems.Add(p)
		}
		for _, p := range r.publications(s) {
			err := r.checkPublication(s, p, sources)
			if IsInfrastructure(err) {
				return fmt.Errorf("stage %q: publish: %w", s.Name, err)
			}
			if err != nil {
				problems.Add(p.At().Problem("stage %q: publish: %v", s.Name, err))
			}
		}
	}
	problems = append(problems, r.checkEnvironments(steps)...)
	problems = append(problems, checkResources(r.total(), running)...)
	return r.maskProblems(problems).Err()
}

// checkSource looks at what is connected to a port and lies in the workspace. The error
// is the machine's.
func (r *Runner) checkSource(s *pipeline.Step, in pipeline.Input) (problem.List, error) {
	say := func(message, hint string) (problem.List, error) {
		return problem.List{in.At().Problem("stage %q: in: %s: %s", s.Name, in.Port.Name, message).WithHint("%s", hint)}, nil
	}
	path := !pipeline.HasScheme(in.Source)
	var wrong *source.Error
	err := r.Sources.Check(in.Source)
	switch {
	case IsInfrastructure(err):
		return nil, fmt.Errorf("stage %q: in: %s: %w", s.Name, in.Port.Name, err)
	case errors.As(err, &wrong):
		if r.KeepGoing && path {
			return nil, nil // the stage fails, and the rest goes on
		}
		return say(wrong.Message, wrong.Hint)
	case err != nil:
		return say(err.Error(), "")
	}
	if !path {
		return nil, nil
	}
	info, err := os.Stat(in.Source)
	if err != nil {
		return nil, nil // it was there a moment ago: the stage will tell
	}
	switch {
	case info.IsDir() && in.Port.Type == "file":
		return say(fmt.Sprintf("%s is a folder, the port reads a file", in.Source), "")
	case !info.IsDir() && in.Port.Type == "folder":
		return say(fmt.Sprintf("%s is a file, the port reads a folder", in.Source), "")
	case info.IsDir() && len(in.Port.Files) == 0 && within(in.Source, r.Store.Dir()):
		return say(fmt.Sprintf("the store %s lies in the folder %s: it would be an input of itself", r.Store.Dir(), in.Source), "put it elsewhere: --store DIR")
	}
	return nil, nil
}

// CheckInputs has the kinds look at their workspace inputs before anything runs. The
// error is a problem.List.
func (r *Runner) CheckInputs() error {
	var problems problem.List
	for _, s := range r.steps() {
		for _, in := range s.Inputs {
			check := s.Kind.InputCheck(in.Port.Name)
			if check == nil || !in.IsSource() || pipeline.HasScheme(in.Source) {
				continue
			}
			var list problem.List
			if err := check(in.Source); errors.As(err, &list) {
				problems = append(problems, list...)
			}
		}
	}
	return r.maskProblems(problems).Err()
}

// within says whether path lies in dir, or is dir.
func within(dir, path string) bool {
	a, err1 := filepath.Abs(dir)
	b, err2 := filepath.Abs(path)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(a, b)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// checkPublication refuses a place that is the pipeline's own, or holds what pipe
// did not put there.
func (r *Runner) checkPublication(s *pipeline.Step, p pipeline.Publication, sources []workspaceInput) error {
	if within(p.To, r.Plan.File) {
		return fmt.Errorf("%s is, or holds, the pipeline file", p.To)
	}
	if within(p.To, r.Store.Dir()) || within(r.Store.Dir(), p.To) {
		return fmt.Errorf("%s is, or holds, or lies in, the store", p.To)
	}
	for _, in := range sources {
		// A folder of which a port reads chosen files at its top may hold published things below.
		if within(p.To, in.Source) || within(in.Source, p.To) && len(in.Port.Files) == 0 {
			return fmt.Errorf("%s is, or holds, or lies in, the input %s of stage %q", p.To, in.Source, in.step.Name)
		}
	}
	o, _ := s.Output(p.Port)
	if err := checkPlace(p.To, o.Folder); err != nil {
		return err
	}
	return checkWritable(filepath.Dir(p.To))
}

// checkWritable refuses a folder, there or to be made, that cannot be written to.
func checkWritable(dir string) error {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is a file, and a folder is needed there", dir)
		case err == nil:
			if !canWrite(dir) {
				return fmt.Errorf("the folder %s cannot be written to", dir)
			}
			return nil
		case filepath.Dir(dir) == dir:
			return err
		}
		dir = filepath.Dir(dir)
	}
}

// Run executes the plan and returns the summary. Exit is 0, 1, 3, 5, 75 or 130.
func (r *Runner) Run(ctx context.Context) (Summary, error) {
	if r.Now == nil {
		r.Now = time.Now
	}
	r.pins = map[string]source.Pin{}
	if release, err := r.Store.Hold(); err == nil { // else a collection may take what is then made again
		defer release()
	}
	r.Store.SweepAttempts()
	r.id = newRunID(r.Now())
	var err error
	if !r.Unlisted {
		if r.history, err = startHistory(r.Store, r.id); err != nil {
			return Summary{}, err
		}
	}
	steps := r.steps()
	start := Event{Type: "run_start", Run: r.id, Pipeline: r.Plan.Name, Profile: r.Plan.Profile, File: r.Plan.File, Dir: r.Dir, Set: r.Plan.Set, Targets: r.Targets, Only: r.Only, Downstream: r.Downstream}
	for _, s := range steps {
		start.Stages = append(start.Stages, s.Name)
	}
	r.emit(start)
	states := r.schedule(ctx, steps)
	r.records = map[string]*cache.Record{}
	for s, st := range states {
		r.records[s.Name] = st.result.record
	}
	summary := r.maskSummary(r.summarize(ctx, steps, states))
	r.sinkMu.Lock()
	defer r.sinkMu.Unlock()
	r.history.add(summaryLine(summary), false)
	r.Sink.Summary(summary)
	// What is left to write is convenience: histories and indexes.
	var before *Past
	if r.IfChanged && summary.Idle() {
		before = r.before()
	}
	if summary.sameAs(before) {
		_ = r.history.drop()
		r.usedAgain(before)
	} else {
		_ = r.history.end(summary.Idle())
	}
	_ = r.Store.Close()
	return summary, nil
}

func (r *Runner) stageEnd(res stepResult) { r.emit(endOf(res)) }

// endOf is the event that tells how a step ended.
func endOf(res stepResult) Event {
	e := Event{Type: "stage_end", Stage: res.step.Name, Outcome: res.outcome, Key: res.key, Why: res.why, Seconds: res.seconds}
	if res.attempts > 1 {
		e.Attempt = res.attempts
	}
	if res.record != nil {
		e.Outputs, e.Withheld = res.record.Outputs, res.record.Withheld
	}
	if res.outcome == Cached {
		e.Inputs, e.Params = usesOf(res.inputs), res.step.Params.Places()
	}
	if res.err != nil && res.outcome == Failed {
		e.Error = res.err.Error()
	}
	return e
}

// summarize publishes what is to be published and sums up.
func (r *Runner) summarize(ctx context.Context, steps []*pipeline.Step, states map[*pipeline.Step]*state) Summary {
	sum := Summary{Type: "summary", Time: r.Now(), Run: r.id, Stages: []StageResult{}, Published: []Published{}}
	gate, busy := false, false
	var notes []func(context.Context) error
	for _, s := range steps {
		res := states[s].result
		busy = busy || isBusy(res.err)
		why := res.why
		if err := errors.Join(res.err, res.differs); err != nil {
			why, _, _ = strings.Cut(err.Error(), "\n")
		}
		if res.differs != nil && sum.Exit != exitInterrupted {
			sum.Exit = max(sum.Exit, exitOf(res.differs))
		}
		sum.Stages = append(sum.Stages, StageResult{Stage: s.Name, Outcome: res.outcome, Key: res.key, Why: why, Seconds: res.seconds, Check: res.check})
		switch {
		case res.outcome == Interrupted:
			sum.Exit = exitInterrupted
		case res.outcome == Failed && sum.Exit != exitInterrupted:
			sum.Exit = max(sum.Exit, exitOf(res.err))
		}
		if res.record != nil && res.record.Withheld != "" && res.outcome == Ran {
			gate = true
		}
	}
	for _, s := range steps {
		if ctx.Err() != nil || r.stopped() {
			sum.Exit = exitInterrupted
			break
		}
		for _, p := range r.publications(s) {
			if record := states[s].result.record; record != nil {
				done, shut, err := r.publish(ctx, s, p, record)
				gate = gate || shut
				if done.healed != nil {
					sum.Published = append(sum.Published, *done.healed)
				}
				if done.note != nil {
					notes = append(notes, done.note)
				}
				switch {
				case ctx.Err() != nil || err != nil && r.stopped():
					sum.Exit = exitInterrupted
				case done.busy:
					busy = true
				case err != nil:
					sum.Exit = max(sum.Exit, exitOf(err))
				case done.Decision == wasKept:
					sum.Kept = append(sum.Kept, done)
				case done.Decision != wasWithheld:
					sum.Published = append(sum.Published, done)
				}
			}
		}
	}
	if sum.Exit == 0 && gate {
		sum.Exit = 3
		// Remembered is what the exit code tells of, and no more: what another failure
		// drowned, the next run tells.
		for _, note := range notes {
			_ = note(ctx) // then the next run tells it again
		}
	}
	if sum.Exit == 0 && busy {
		sum.Exit = exitBusy
	}
	return sum
}

// publications lists what a run may publish of a step.
func (r *Runner) publications(s *pipeline.Step) []pipeline.Publication {
	if r.Unlisted || !r.mayRun(s) {
		return nil
	}
	return s.Publish
}

// exitInterrupted is the exit code after Ctrl-C, by the shells' convention.
const exitInterrupted = 130

// emit hands an event to the sink and to the history.
func (r *Runner) emit(e Event) {
	e.Time = r.Now()
	e = r.maskEvent(e)
	var line *[]byte
	if r.history != nil && e.Type != "progress" {
		line = eventLine(e)
		defer lineBuffers.Put(line)
	}
	// A run that is killed need not tell of the last stages that were known.
	mayWait := e.Type == "stage_end" && e.Outcome == Cached
	r.sinkMu.Lock()
	defer r.sinkMu.Unlock()
	r.Sink.Event(e)
	if line != nil {
		r.history.add(*line, mayWait)
	}
}

// ID names the run.
func (r *Runner) ID() string { return r.id }

// Summaries returns what the stages of the run, in order, have to say at its end.
func (r *Runner) Summaries() []string {
	var texts []string
	for _, s := range r.steps() {
		if record := r.records[s.Name]; record != nil {
			if o, ok := record.Attachments[stages.SummaryName]; ok {
				if b, err := r.Store.ReadBlob(o.Digest); err == nil {
					texts = append(texts, string(b))
				}
			}
		}
	}
	return texts
}

// Record returns what a stage of the run made, or nil.
func (r *Runner) Record(stage string) *cache.Record { return r.records[stage] }
