package main

import (
	"fmt"
	"text/tabwriter"

	"pipe/internal/document"
)

type stagesCommand struct {
	Name string `arg:"" optional:"" help:"A stage kind to describe."`
}

// Run is called by kong.
func (c *stagesCommand) Run(a *app) error {
	if c.Name != "" {
		k := a.kinds.Lookup(c.Name)
		if k == nil {
			return usageError{fmt.Errorf("there is no stage kind %q (%s)", c.Name, document.Suggest(c.Name, a.kinds.Names()))}
		}
		_, err := fmt.Fprint(a.stdout, k.Markdown())
		return err
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, k := range a.kinds.All() {
		fmt.Fprintf(t, "%s\t%s\n", k.Name, k.Summary)
	}
	return t.Flush()
}

type schemaCommand struct{}

// Run is called by kong.
func (schemaCommand) Run(a *app) error {
	b, err := a.kinds.JSONSchema()
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(b)
	return err
}
