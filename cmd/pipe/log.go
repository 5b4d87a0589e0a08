package main

import (
	"fmt"

	"pipe/cache"
	"pipe/internal/manifest"
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
	for _, e := range c.events(store, past) {
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

// events returns what the run has to say of the stage: of a result all that was said
// until it was there, also before an interruption.
func (c *logCommand) events(store *cache.Store, past *runner.Past) []runner.Event {
	res, _ := past.Result(c.Stage)
	key, err := manifest.ParseDigest(res.Key)
	if err != nil || res.Outcome != runner.Ran && res.Outcome != runner.Cached {
		return past.Events
	}
	record, err := store.ReadRecord(cache.Key(key))
	if err != nil {
		return past.Events
	}
	events := runner.RecordLog(store, record)
	for i := range events {
		events[i].Stage = c.Stage
	}
	return events
}
