package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"pipe/cache"
	"pipe/data"
	"pipe/pipeline"
	"pipe/pipeline/runner"
	"pipe/pipelines"
	"pipe/runtime/chat"
	"pipe/stages"
)

type sanityCommand struct {
	storeFlag
	Adapter string `arg:"" help:"The folder of a PEFT adapter."`
	Suite   string `help:"The questions; those of the newest run, or the ones that pipe carries, by default." placeholder:"FILE.yaml"`
	Base    string `help:"The folder of the base, instead of the one that the adapter names." placeholder:"DIR"`
}

// sweepKind is the stage kind that asks and judges.
const sweepKind = "sanity-sweep"

// Run is called by kong.
func (c *sanityCommand) Run(a *app) error {
	store, err := openStore(c.Store)
	if err != nil {
		return err
	}
	adapter, err := findAdapter(store, c.Adapter)
	if err != nil {
		return err
	}
	base := c.Base
	if base == "" {
		info, err := chat.ReadInfo(adapter)
		if err != nil {
			return usageError{err}
		}
		dir, release, err := a.openBase(store, info)
		if err != nil {
			return err
		}
		defer release()
		base = dir
	}
	step, err := a.sweepStep(store)
	if err != nil {
		return err
	}
	return a.sweep(store, step, base, adapter, c.Suite)
}

// sweepStep returns the sweep of the newest run, for its compliments and its suite,
// or that of the pipeline that pipe carries.
func (a *app) sweepStep(store *cache.Store) (*pipeline.Step, error) {
	if plan, err := a.planFor(store, "", "", nil); err == nil {
		for _, s := range plan.Steps {
			if s.Kind.Name == sweepKind {
				return s, nil
			}
		}
	}
	f, err := pipeline.Parse("pipelines/mistral-behaviors.yaml", pipelines.MistralBehaviors)
	if err != nil {
		return nil, err
	}
	plan, err := f.Resolve(a.kinds, pipeline.Options{})
	if err != nil {
		return nil, err
	}
	return plan.Step(sweepKind), nil
}

// sweep runs the kind by hand, in a folder of its own, and prints its table.
func (a *app) sweep(store *cache.Store, step *pipeline.Step, base, adapter, suite string) error {
	dir, release, err := store.NewAttempt()
	if err != nil {
		return err
	}
	defer release()
	if suite == "" {
		if suite, err = defaultSuite(step, dir); err != nil {
			return err
		}
	}
	sink, err := a.newSink(false, uiAuto)
	if err != nil {
		return err
	}
	now := time.Now()
	sink.Event(runner.Event{Type: "stage_start", Time: now, Stage: sweepKind, Why: "asked for"})
	env := &stages.Env{Out: dir, Scratch: dir, Workers: runtime.GOMAXPROCS(0), Now: time.Now, Log: quiet{},
		Progress: func(p stages.Progress) {
			e := runner.ProgressEvent(sweepKind, p)
			e.Time = time.Now()
			sink.Event(e)
		},
		Attach:   func(string) (io.WriteCloser, error) { return discard{}, nil },
		Withhold: func(string) {}, Note: func(string, string) {},
	}
	out := filepath.Join(dir, "report")
	err = step.Kind.Run(a.ctx, env, step.Params, map[string]stages.Input{"base": {Path: base}, "checkpoints": {Path: adapter}, "suite": {Path: suite}}, map[string]string{"report": out})
	sink.Summary(runner.Summary{})
	if err != nil {
		return err
	}
	table, err := os.ReadFile(filepath.Join(out, "report.md"))
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(table)
	return err
}

// defaultSuite is the suite of a sweep if its file is there, else the one that pipe
// carries.
func defaultSuite(step *pipeline.Step, dir string) (string, error) {
	for _, in := range step.Inputs {
		if in.Port.Name == "suite" && in.IsSource() {
			if _, err := os.Stat(in.Source); err == nil {
				return in.Source, nil
			}
		}
	}
	path := filepath.Join(dir, "sanity.yaml")
	return path, os.WriteFile(path, data.Suite, 0o666)
}

// quiet is a log that nobody reads: the table says it all.
type quiet struct{}

func (quiet) Info(string, ...any) {}
func (quiet) Warn(string, ...any) {}

// discard is an attachment that nobody keeps.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }
