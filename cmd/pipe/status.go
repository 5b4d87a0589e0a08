package main

import (
	"fmt"

	"pipe/pipeline/runner"
)

type statusCommand struct {
	storeFlag
	File string `arg:"" optional:"" help:"The pipeline file; that of the newest run by default."`
	profileFlag
	ExitCode bool `help:"Exit with 3 if something is stale."`
}

// Run is called by kong.
func (c *statusCommand) Run(a *app) error {
	store, err := peekStore(c.Store)
	if err != nil {
		return err
	}
	plan, err := a.planFor(store, c.File, c.profile(), nil)
	if err != nil {
		return err
	}
	r := a.newRunner(plan, store)
	forecasts, err := r.Forecast(a.ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s (%s), %s\n", plan.Name, plan.Profile, plan.File)
	printForecasts(a.stdout, forecasts)
	if c.ExitCode {
		for _, f := range forecasts {
			if f.Prospect != runner.WouldHit {
				return exitStatus(exitGate)
			}
		}
	}
	return nil
}
