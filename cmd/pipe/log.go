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
	store, err := c.theStore()
	if err != nil {
		return err
	}
	past, stage, err := findStage(store, c.Stage)
	if err != nil {
		return err
	}
	c.Stage = stage
	for _, e := range c.events(store, past) {
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

// events returns what there is to say of the stage: what it said in the run, or, if
// that is more, all that was said until its result was there, in runs before that were
// interrupted.
func (c *logCommand) events(store *cache.Store, past *runner.Past) []runner.Event {
	var said []runner.Event
	for _, e := range past.Events {
		if e.Stage == c.Stage && (e.Type == "log" || e.Type == "stage_end") {
			said = append(said, e)
		}
	}
	res, _ := past.Result(c.Stage)
	key, err := manifest.ParseDigest(res.Key)
	if err != nil || res.Outcome != runner.Ran {
		return said
	}
	record, err := store.ReadRecord(cache.Key(key))
	if err != nil {
		return said
	}
	if kept := runner.RecordLog(store, record); len(kept) > len(said) {
		return kept
	}
	return said
}
