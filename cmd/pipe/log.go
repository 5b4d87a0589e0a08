package main

import (
	"fmt"

	"pipe/pipeline/runner"
)

type logCommand struct {
	storeFlag
	Stage string `arg:"" help:"The stage."`
}

// Run is called by kong.
func (c *logCommand) Run(a *app) error {
	store, err := peekStore(c.Store)
	if err != nil {
		return err
	}
	past, err := lastRun(store, func(p *runner.Past) bool { _, ok := p.Result(c.Stage); return ok })
	if err != nil {
		return usageError{fmt.Errorf("no run in the store %s has a stage %q", store.Dir(), c.Stage)}
	}
	for _, e := range past.Events {
		if e.Stage != c.Stage {
			continue
		}
		switch {
		case e.Type == "log" && e.Level == "warn":
			fmt.Fprintln(a.stdout, printable("warning: "+logText(e)))
		case e.Type == "log":
			fmt.Fprintln(a.stdout, printable(logText(e)))
		case e.Type == "stage_end" && e.Error != "":
			fmt.Fprintln(a.stdout, printableText("failed: "+e.Error))
		}
	}
	return nil
}
