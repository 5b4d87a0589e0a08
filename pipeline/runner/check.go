package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/problem"
	"pipe/pipeline"
	"pipe/pipeline/source"
	"pipe/stages"
)

// Level is how bad a finding is.
type Level string

const (
	Mistake Level = "error"   // the run would fail
	Warning Level = "warning" // it makes no sense
	Note    Level = "note"    // something was not looked at
)

// Finding is what Advise points at.
type Finding struct {
	Level Level
	Stage string
	problem.Problem
}

// quickBytes is how much input a stage of a quick kind may have for a check to run it:
// some tens of thousands of conversations, a few seconds.
const quickBytes = 16 << 20

// Advise asks the kinds what they think of parameters and inputs, before anything
// runs and without the store: stages of quick kinds are run in a folder of their own,
// so that those behind them see what they will get. A source that is not there is
// Preflight's to tell. The error is
// the machine's.
func (r *Runner) Advise(ctx context.Context) ([]Finding, error) {
	dir, err := os.MkdirTemp("", "pipe-check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	a := advisor{runner: r, dir: dir, made: map[*pipeline.Step]string{}, words: usersWords{}}
	for _, p := range r.Plan.Remarks {
		a.list = append(a.list, Finding{Level: Warning, Problem: p})
	}
	a.hook("on_failure", r.Plan.Hooks.OnFailure)
	a.hook("on_success", r.Plan.Hooks.OnSuccess)
	for _, s := range r.steps() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := a.step(ctx, s); err != nil {
			return nil, err
		}
	}
	for i := range a.list {
		a.list[i].Problem = r.maskProblem(a.list[i].Problem)
	}
	return a.list, ctx.Err()
}

// advisor goes from step to step.
type advisor struct {
	runner *Runner
	dir    string
	made   map[*pipeline.Step]string // folders of outputs of those that were run
	words  usersWords
	list   []Finding
}

func (a *advisor) step(ctx context.Context, s *pipeline.Step) error {
	for _, p := range s.Publish {
		a.scores(s, p)
	}
	if !s.Kind.IsQuick() && !s.Kind.HasCheck() {
		return nil
	}
	dir := filepath.Join(a.dir, s.Name)
	env := &stages.Env{Out: filepath.Join(dir, "out"), Scratch: filepath.Join(dir, "scratch"), Workers: 1, Now: time.Now, Log: silent{}, Device: a.runner.Device,
		Progress: func(stages.Progress) {}, Withhold: func(string) {}, Note: func(string, string) {},
		Attach:   func(string) (io.WriteCloser, error) { return silent{}, nil },
		OnRemark: func(m stages.Remark) { a.add(s, m) }, Earlier: func(name string) []byte { return a.runner.earlier(s, name) }}
	writes := slices.ContainsFunc(s.Inputs, func(in pipeline.Input) bool { return in.IsSource() && pipeline.HasScheme(in.Source) })
	if s.Kind.IsQuick() || writes { // of 10,000 stages that do not, the folders alone took seconds
		for _, sub := range []string{env.Out, env.Scratch, filepath.Join(dir, "in")} {
			if err := os.MkdirAll(sub, 0o777); err != nil {
				return err
			}
		}
	}
	inputs, size, whole, err := a.inputs(s, filepath.Join(dir, "in"))
	if err != nil {
		return err
	}
	if s.Kind.HasCheck() {
		if err := guarded(func() error { return s.Kind.Check(ctx, env, s.Params, inputs) }); err != nil {
			a.fail(s, err)
			return nil
		}
	}
	if !s.Kind.IsQuick() || !whole {
		return nil
	}
	if size > quickBytes {
		p := s.At().Problem("stage %q: its input has %d MiB: what comes of it is not looked at here", s.Name, size>>20)
		a.list = append(a.list, Finding{Level: Note, Stage: s.Name, Problem: p})
		return nil
	}
	outputs := map[string]string{}
	for _, o := range s.Outputs {
		outputs[o.Name] = filepath.Join(env.Out, o.Name)
		a.words[outputs[o.Name]] = s.Name + "." + o.Name
	}
	if err := guarded(func() error { return s.Kind.Run(ctx, env, s.Params, inputs, outputs) }); err != nil {
		a.fail(s, err)
		return nil
	}
	a.made[s] = env.Out
	return nil
}

// scores warns of a promotion by scores that nobody writes. A kind that leaves its
// outputs to the stage may write them.
func (a *advisor) scores(s *pipeline.Step, p pipeline.Publication) {
	if p.UnlessWorse == nil {
		return
	}
	in := p.UnlessWorse
	if o, ok := in.From.Output(in.FromPort); ok && !in.From.Kind.Open && !o.Scores {
		problem := p.At().Problem("stage %q: publish: %s: unless_worse: %s.%s holds no score.json: nothing could be promoted", s.Name, p.Port, in.From.Name, in.FromPort)
		a.list = append(a.list, Finding{Level: Warning, Stage: s.Name, Problem: problem})
	}
}

// hook warns of a program that nobody could start when the run has ended.
func (a *advisor) hook(name string, argv []string) {
	if len(argv) == 0 {
		return
	}
	file := argv[0]
	if strings.Contains(file, "/") && !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(a.runner.Plan.File), file)
	}
	if _, err := exec.LookPath(file); err != nil {
		p := a.runner.Plan.HookAt(name).Problem("%s: there is no program %s that could be run", name, argv[0]).
			WithHint("a path is looked for from the pipeline file's folder, a name on PATH")
		a.list = append(a.list, Finding{Level: Warning, Problem: p})
	}
}

// guarded calls a kind's code: a panic in it is an error, and the others are asked.
func guarded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	return call()
}

// inputs finds what can be had of a step's inputs, its size, and whether it is all.
func (a *advisor) inputs(s *pipeline.Step, dir string) (inputs map[string]stages.Input, size int64, whole bool, err error) {
	inputs, whole = map[string]stages.Input{}, true
	for _, in := range s.Inputs {
		path := ""
		if in.IsSource() {
			path, err = a.runner.Sources.Look(in.Source, in.Port.Files, filepath.Join(dir, in.Port.Name))
			if wrong := (*source.Error)(nil); err != nil && !errors.As(err, &wrong) {
				return nil, 0, false, err
			}
		} else if out, ok := a.made[in.From]; ok {
			path = filepath.Join(out, in.FromPort)
		}
		if path == "" {
			inputs[in.Port.Name] = stages.Input{Pending: true}
			whole = false
			continue
		}
		inputs[in.Port.Name] = stages.Input{Path: path}
		size += sizeOf(path, in.Port.Files)
	}
	return inputs, size, whole, nil // an error of a source was told by Preflight
}

// earlier returns an attachment of the step's newest result in this pipeline and
// profile, or nil.
func (r *Runner) earlier(s *pipeline.Step, attachment string) []byte {
	r.lastOnce.Do(func() { r.last = lastResults(r.Store, r.Plan.Name, r.Plan.Profile, r.id, r.Plan.Names()) })
	var key cache.Key
	if err := key.UnmarshalText([]byte(r.last[s.Name].Key)); err != nil {
		return nil
	}
	record, err := r.Store.ReadRecord(key)
	if err != nil {
		return nil
	}
	o, ok := record.Attachments[attachment]
	if !ok {
		return nil
	}
	b, err := r.Store.ReadBlob(o.Digest)
	if err != nil {
		return nil // damaged or gone: it was a help, no more
	}
	return b
}

// sizeOf is how many bytes there are to read. What cannot be looked at counts nothing:
// whoever reads it will tell.
func sizeOf(path string, patterns []string) int64 {
	var size int64
	_ = filepath.WalkDir(path, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		chosen := len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { ok, _ := filepath.Match(p, e.Name()); return ok })
		if info, err := os.Stat(name); err == nil && chosen {
			size += info.Size()
		}
		return nil
	})
	return size
}

// add places a remark: in the file that it names, else at the parameter or the port
// that it is about, else at the stage.
func (a *advisor) add(s *pipeline.Step, m stages.Remark) {
	f := Finding{Level: Warning, Stage: s.Name}
	at := s.At()
	if node := s.Params.At(m.Param); node != nil {
		at = node
	}
	for _, in := range s.Inputs {
		if in.Port.Name == m.Port {
			at = in.At()
		}
	}
	f.Problem = at.Problem("stage %q: %s", s.Name, a.words.in(m.Message))
	if m.File != "" {
		f.Problem = problem.At(a.words.in(m.File), m.Line, 0, "%s", a.words.in(m.Message))
	}
	f.Hint = a.words.in(m.Hint)
	a.list = append(a.list, f)
}

// fail notes that a stage is bound to fail.
func (a *advisor) fail(s *pipeline.Step, err error) {
	var problems problem.List
	if !errors.As(err, &problems) {
		problems = problem.List{s.At().Problem("stage %q: %s", s.Name, strings.TrimSpace(a.words.in(err.Error())))}
	}
	for _, p := range problems {
		p.File, p.Message, p.Hint = a.words.in(p.File), a.words.in(p.Message), a.words.in(p.Hint)
		a.list = append(a.list, Finding{Level: Mistake, Stage: s.Name, Problem: p})
	}
}

// silent takes logs and attachments that nobody reads.
type silent struct{}

func (silent) Info(string, ...any)         {}
func (silent) Warn(string, ...any)         {}
func (silent) Write(b []byte) (int, error) { return len(b), nil }
func (silent) Close() error                { return nil }

// String is how a finding is shown: as a problem, with its level before the message.
func (f Finding) String() string {
	p := f.Problem
	p.Message = fmt.Sprintf("%s: %s", f.Level, p.Message)
	return p.Error()
}
