package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"pipe/internal/problem"
	"pipe/pipeline"
	"pipe/pipeline/runner"
)

type checkCommand struct {
	storeFlag
	File string `arg:"" optional:"" help:"The pipeline file; the only one in pipelines/ by default."`
	profileFlag
	Set    []string `help:"Change a parameter: stage.key=value or params.key=value." placeholder:"KEY=VALUE" sep:"none"`
	Strict bool     `help:"Exit with 1 if there are warnings."`
	JSON   bool     `name:"json" help:"Print the findings as JSON."`
}

// Run is called by kong.
func (c *checkCommand) Run(a *app) error {
	if c.File == "" {
		var err error
		if c.File, err = onlyPipeline(); err != nil {
			return err
		}
	}
	found, code, err := c.findings(a)
	if err != nil {
		return err
	}
	counts := map[runner.Level]int{}
	for _, f := range found {
		counts[f.Level]++
	}
	if code == 0 && c.Strict && counts[runner.Warning] > 0 {
		code = exitFailed
	}
	if c.JSON {
		err = a.printFindingsJSON(c, found, code)
	} else {
		for _, f := range found {
			fmt.Fprintln(a.stdout, printableText(f.String()))
		}
		_, err = fmt.Fprintf(a.stdout, "%s: %s, %s\n", c.File, plural(counts[runner.Mistake], "error"), plural(counts[runner.Warning], "warning"))
	}
	if err == nil && code != 0 {
		err = exitStatus(code)
	}
	return err
}

// findings looks for all there is to say, and for the exit code: 2 for what is wrong
// with the file, 1 for what is wrong with data. A file without a plan hides the rest.
func (c *checkCommand) findings(a *app) ([]runner.Finding, int, error) {
	plan, err := a.resolve(c.File, c.profile(), c.Set)
	if err != nil {
		return mistakes(err, exitUsage)
	}
	store, err := peekStore(c.Store)
	if err != nil {
		return nil, 0, err
	}
	r := a.newRunner(plan, store)
	found, code, err := mistakes(r.Preflight(), exitUsage)
	inputs, worse, err2 := mistakes(r.CheckInputs(), exitFailed)
	if err := errors.Join(err, err2); err != nil {
		return nil, 0, err
	}
	found, code = append(found, inputs...), max(code, worse)
	advice, err := r.Advise(a.ctx)
	if errors.Is(err, context.Canceled) {
		return nil, 0, err
	}
	if err != nil {
		return nil, 0, infrastructureError{err}
	}
	for _, f := range advice {
		if f.Level == runner.Mistake {
			code = max(code, exitFailed)
		}
		if !slices.ContainsFunc(found, func(g runner.Finding) bool { return g.Problem == f.Problem }) {
			found = append(found, f)
		}
	}
	return found, code, nil
}

// mistakes takes an error apart into findings. An error that is no list of problems
// is handed on.
func mistakes(err error, code int) ([]runner.Finding, int, error) {
	if err == nil {
		return nil, 0, nil
	}
	var list problem.List
	if !errors.As(err, &list) {
		return nil, 0, err
	}
	found := make([]runner.Finding, len(list))
	for i, p := range list {
		found[i] = runner.Finding{Level: runner.Mistake, Problem: p}
	}
	return found, code, nil
}

// findingJSON is a finding in the output of --json.
type findingJSON struct {
	Level   runner.Level `json:"level"`
	Stage   string       `json:"stage,omitempty"`
	File    string       `json:"file,omitempty"`
	Line    int          `json:"line,omitempty"`
	Column  int          `json:"column,omitempty"`
	Message string       `json:"message"`
	Hint    string       `json:"hint,omitempty"`
}

func (a *app) printFindingsJSON(c *checkCommand, found []runner.Finding, code int) error {
	profile := c.profile()
	if profile == "" {
		profile = pipeline.DefaultProfile
	}
	list := make([]findingJSON, len(found))
	for i, f := range found {
		list[i] = findingJSON{f.Level, f.Stage, f.File, f.Line, f.Col, f.Message, f.Hint}
	}
	b, err := json.Marshal(map[string]any{"file": c.File, "profile": profile, "exit": code, "findings": list})
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(b, '\n'))
	return err
}
