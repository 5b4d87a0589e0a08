package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pipe/internal/stagename"
	"pipe/pipeline"
	"pipe/pipeline/runner"
)

type runCommand struct {
	storeFlag
	unattended
	First      string   `arg:"" optional:"" name:"file" help:"The pipeline file, if it ends in .yaml or .yml; the only one in pipelines/ by default. Else a stage."`
	Rest       []string `arg:"" optional:"" name:"stage" help:"The stages to bring up to date; all by default."`
	Until      []string `help:"Run up to this stage, itself included; as naming it among the stages." placeholder:"STAGE" sep:"none"`
	Only       []string `help:"Run this stage alone: what it reads must be known." placeholder:"STAGE" sep:"none"`
	Downstream []string `help:"Run this stage and those that depend on it: what else they read must be known." placeholder:"STAGE" sep:"none"`
	profileFlag
	Set         []string `help:"Change a parameter: stage.key=value or params.key=value." placeholder:"KEY=VALUE" sep:"none"`
	Jobs        *int     `short:"j" help:"Stages at once; one a processor by default." placeholder:"N"`
	DryRun      bool     `short:"n" help:"Say what would run, and why; run nothing."`
	KeepGoing   bool     `short:"k" help:"Run what can be run although an input is missing."`
	Recompute   []string `help:"Run a stage even if its result is known, and say whether the bytes are the same." placeholder:"STAGE" sep:"none"`
	CheckCache  bool     `help:"Run stages whose results are known once more, in scratch, and compare the bytes; the results stay."`
	KeepFailed  bool     `help:"Keep the folder of a stage that fails, and say how to do it again."`
	Promote     bool     `help:"Publish also what is worse than what is published, or was rolled back."`
	ReplaceBase bool     `help:"Publish also over what belongs to another base."`
	UI          string   `name:"ui" help:"How to show a run in a terminal: live is a screen that changes, plain is lines; auto is live where that works and NO_COLOR is not set." enum:"auto,live,plain" default:"auto" placeholder:"auto|live|plain"`
	JSON        bool     `name:"json" help:"Print every event as a line of JSON on standard output; logs go to standard error."`
}

// Validate is called by kong.
func (c *runCommand) Validate() error {
	if c.Jobs != nil && *c.Jobs < 1 {
		return fmt.Errorf("--jobs: must be at least 1, got %d (without it one a processor)", *c.Jobs)
	}
	return c.unattended.Validate()
}

// Run is called by kong.
func (c *runCommand) Run(a *app) error {
	sink, err := c.sink(a)
	if err != nil {
		return err
	}
	plan, targets, err := c.plan(a)
	var summary runner.Summary
	if err == nil {
		summary, err = c.run(a, sink, plan, targets)
	}
	var status exitStatus
	if err != nil && !errors.As(err, &status) { // nothing was run: the summary is still owed
		summary = runner.Summary{Type: "summary", Time: time.Now(), Exit: codeOf(err), Stages: []runner.StageResult{}, Published: []runner.Published{}, Error: err.Error()}
		if c.JSON {
			sink.Summary(summary)
		}
	}
	if plan != nil && !c.DryRun && !(c.IfChanged && summary.Idle()) {
		c.runHook(a, plan, summary)
	}
	return err
}

func (c *runCommand) run(a *app, sink runner.Sink, plan *pipeline.Plan, targets []string) (runner.Summary, error) {
	none := runner.Summary{}
	store, err := peekStore(c.Store)
	if err != nil {
		return none, err
	}
	r := a.newRunner(plan, store)
	r.Sink, r.Targets, r.KeepGoing = sink, targets, c.KeepGoing
	if c.Jobs != nil {
		r.Jobs = *c.Jobs
	}
	r.Recompute, r.Only, r.Downstream = selectors(c.Recompute), selectors(c.Only), selectors(c.Downstream)
	r.Promote, r.ReplaceBase = c.Promote, c.ReplaceBase
	r.CheckCache, r.KeepFailed = c.CheckCache, c.KeepFailed
	r.IfChanged, r.MaxWait = c.IfChanged, c.maxWait()
	if err := r.Preflight(); err != nil {
		return none, usageError{err}
	}
	if err := r.CheckInputs(); err != nil && !c.KeepGoing {
		return none, err
	}
	if err := r.CheckKnown(a.ctx); err != nil {
		return none, usageError{err}
	}
	if c.DryRun {
		return none, a.dryRun(r, c.JSON, sink)
	}
	if err := store.Create(); err != nil {
		return none, infrastructureError{err}
	}
	waiting := time.Now()
	end, err := c.register(a, store, plan)
	if err != nil {
		return none, err
	}
	defer end()
	r.Waited = time.Since(waiting)
	r.Stop = a.stop.Take()
	summary, err := r.Run(a.ctx)
	if err != nil {
		return none, infrastructureError{err}
	}
	if !c.JSON && !c.Quiet && !(c.IfChanged && summary.Idle()) {
		a.epilogue(r, summary)
	}
	if summary.Exit != 0 {
		return summary, exitStatus(summary.Exit)
	}
	return summary, nil
}

// plan splits the arguments into file and stages and resolves the file.
func (c *runCommand) plan(a *app) (*pipeline.Plan, []string, error) {
	file, targets := c.First, c.Rest
	if !isPipelineFile(file) {
		if file != "" {
			targets = append([]string{file}, targets...)
		}
		var err error
		if file, err = onlyPipeline(); err != nil {
			return nil, nil, err
		}
	}
	plan, err := a.resolve(file, c.profile(), c.Set)
	return plan, append(targets, selectors(c.Until)...), err
}

// selectors splits the values of a flag, each a selector or several with commas.
func selectors(values []string) []string {
	var list []string
	for _, v := range values {
		list = append(list, stagename.SplitList(v)...)
	}
	return list
}

// dryRun prints the forecast of a run.
func (a *app) dryRun(r *runner.Runner, json bool, sink runner.Sink) error {
	forecasts, err := r.Forecast(a.ctx)
	if err != nil {
		return err
	}
	code := 0
	for _, f := range forecasts {
		if f.Prospect == runner.WouldNot {
			code = exitFailed
		}
	}
	if json {
		for _, f := range forecasts {
			sink.Event(runner.Event{Type: "forecast", Time: time.Now(), Stage: f.Step.Name, Key: f.Key, Why: f.Why, Outcome: runner.Outcome(f.Prospect)})
		}
		sink.Summary(runner.Summary{Type: "summary", Time: time.Now(), Exit: code, Stages: []runner.StageResult{}, Published: []runner.Published{}})
	} else {
		printForecasts(a.stdout, forecasts)
	}
	if code != 0 {
		return exitStatus(code)
	}
	return nil
}

// epilogue shows what the stages have to say at the end, and how to go on.
func (a *app) epilogue(r *runner.Runner, summary runner.Summary) {
	for _, text := range r.Summaries() {
		fmt.Fprintf(a.stdout, "\n%s", text)
	}
	printSummary(a.stdout, summary)
	for _, p := range summary.Kept {
		fmt.Fprintf(a.stdout, "Not published, %s stays as it is: %s\n", p.To, p.Why)
	}
	for _, p := range summary.Published {
		if _, err := os.Stat(filepath.Join(p.To, "adapter_config.json")); err == nil {
			fmt.Fprintf(a.stdout, "Try it: pipe chat %s\n", p.To)
		}
	}
}
