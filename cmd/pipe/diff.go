package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pipe/cache"
	"pipe/pipeline/explain"
	"pipe/pipeline/runner"
)

type diffCommand struct {
	storeFlag
	From string `arg:"" name:"run" optional:"" help:"A run: an id, the beginning or end of one, last, last~1. Without one, the last two are compared."`
	To   string `arg:"" name:"other" optional:"" help:"Another. Without it, the first is compared with the run before it of the same pipeline and profile."`
	All  bool   `help:"List every record that changed, not the first few."`
	JSON bool   `name:"json" help:"Print the difference as one JSON object."`
}

// Run is called by kong.
func (c *diffCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	from, to, err := c.runs(store)
	if err != nil {
		return err
	}
	d, err := (&explain.Explainer{Store: store, Kinds: a.kinds}).Diff(from, to)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, d)
	}
	w := newWhyWriter(a.stdout, c.All)
	for _, r := range []explain.Run{d.From, d.To} {
		w.line(0, "%s  %s  %s (%s)  %s", r.ID, r.Time.Local().Format("2006-01-02 15:04:05"), r.Pipeline, r.Profile, counts(r.Counts))
	}
	if len(d.Stages) == 0 {
		w.line(0, "")
		w.line(0, "nothing differs")
	}
	for _, s := range d.Stages {
		w.stageDiff(s)
	}
	return nil
}

// runs finds the two that are to be compared.
func (c *diffCommand) runs(store *cache.Store) (from, to *runner.Past, err error) {
	if c.To == "" && c.From != "" {
		if to, err = findRun(store, c.From); err == nil {
			from, err = runBefore(store, to)
		}
		return from, to, err
	}
	if from, err = findRun(store, cmp.Or(c.From, "last~1")); err != nil {
		return nil, nil, err
	}
	to, err = findRun(store, cmp.Or(c.To, "last"))
	return from, to, err
}

func (w *whyWriter) stageDiff(s explain.StageDiff) {
	fmt.Fprintln(w.out)
	if s.Only != "" {
		w.line(0, "%s  only in %s", s.Stage, s.Only)
		return
	}
	w.line(0, "%s", s.Stage)
	w.causes(1, s.Changes)
	for _, name := range slices.Sorted(maps.Keys(s.Metrics)) {
		v := s.Metrics[name]
		w.line(1, "%s: %s → %s", name, number(v.Old), number(v.New))
	}
	if s.Scores != nil {
		w.line(1, "best score: %s → %s", number(s.Scores.Best.Old), number(s.Scores.Best.New))
		if s.Scores.Chosen != (explain.Values{}) {
			w.line(1, "score of what was chosen: %s → %s", number(s.Scores.Chosen.Old), number(s.Scores.Chosen.New))
		}
		if !s.Scores.Comparable {
			w.line(1, "of another suite, base or template: the scores cannot be compared")
		}
	}
	for _, port := range slices.Sorted(maps.Keys(s.Outputs)) {
		o := s.Outputs[port]
		w.line(1, "%s: %s → %s", port, objectText(o.Old), objectText(o.New))
	}
}

func number(v *float64) string {
	if v == nil {
		return "–"
	}
	return showField(*v)
}

func objectText(o *cache.Object) string {
	if o == nil {
		return "not made"
	}
	return fmt.Sprintf("%s (%s bytes)", o.Digest.Short(), count(float64(o.Size)))
}
