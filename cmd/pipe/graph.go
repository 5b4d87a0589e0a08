package main

import (
	"fmt"

	"pipe/pipeline"
	"pipe/pipeline/runner"
)

type graphCommand struct {
	storeFlag
	File string `arg:"" optional:"" help:"The pipeline file; that of the newest run by default."`
	profileFlag
	Format string `enum:"ascii,dot,mermaid" default:"ascii" help:"ascii, dot or mermaid."`
}

// Run is called by kong.
func (c *graphCommand) Run(a *app) error {
	store, err := peekStore(c.Store)
	if err != nil {
		return err
	}
	plan, err := a.planFor(store, c.File, c.profile(), nil)
	if err != nil {
		return err
	}
	forecasts, err := a.newRunner(plan, store).Forecast(a.ctx)
	if err != nil {
		return err
	}
	marks := map[string]pipeline.Mark{}
	for _, f := range forecasts {
		m := pipeline.Mark{State: string(f.Prospect)}
		if f.Prospect != runner.WouldHit {
			m.Note = printable(f.Why)
		}
		marks[f.Step.Name] = m
	}
	var text string
	switch c.Format {
	case "ascii":
		text = plan.DrawASCII(marks)
	case "mermaid":
		text = plan.DrawMermaid(marks)
	case "dot":
		text, err = plan.DrawDOT(marks)
	}
	fmt.Fprint(a.stdout, text)
	return err
}
