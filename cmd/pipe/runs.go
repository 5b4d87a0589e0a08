package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"pipe/pipeline/explain"
	"pipe/pipeline/runner"
)

type runsCommand struct {
	storeFlag
	Number int  `short:"n" help:"How many, the newest first; 0 is all." default:"20" placeholder:"N"`
	JSON   bool `name:"json" help:"Print a JSON object a line."`
}

// Run is called by kong.
func (c *runsCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	var runs []explain.Run
	err = runner.EachPast(store, func(p *runner.Past) bool {
		runs = append(runs, explain.RunOf(p))
		return len(runs) != c.Number
	})
	if err != nil {
		return err
	}
	if c.JSON {
		for _, r := range runs {
			if err := printJSON(a.stdout, r); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, r := range runs {
		fmt.Fprintf(t, "%s\t%s\t%s (%s)\t%s\t%s\t%s\t%s\n", r.ID, r.Time.Local().Format("2006-01-02 15:04:05"), r.Pipeline, r.Profile,
			r.Outcome, joined(counts(r.Counts), checkCount(r.Checked, r.Wrong)), seconds(r.Seconds), printable(publishedText(r.Published)))
	}
	return t.Flush()
}

// counts is "3 ran, 2 cached".
func counts(n map[runner.Outcome]int) string {
	var parts []string
	for _, o := range []runner.Outcome{runner.Ran, runner.Cached, runner.Failed, runner.Skipped, runner.Interrupted, explain.NotStarted} {
		if n[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[o], o))
		}
	}
	return strings.Join(parts, ", ")
}

// checkCount is "1 of 3 stages did not make the same bytes"; nothing if all did.
func checkCount(checked, wrong int) string {
	if wrong == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %s did not make the same bytes", wrong, plural(checked, "stage"))
}

// joined puts what is not empty behind one another.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

// publishedText lists what a run put at its place; what was there already is not new.
func publishedText(published []runner.Published) string {
	var parts []string
	for _, p := range published {
		if p.Decision != "unchanged" {
			parts = append(parts, p.Decision+" "+p.To)
		}
	}
	return strings.Join(parts, ", ")
}
