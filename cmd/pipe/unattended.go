package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"pipe/cache"
	"pipe/internal/logging"
	"pipe/pipeline"
	"pipe/pipeline/runner"
)

// unattended are the flags of runs that nobody watches.
type unattended struct {
	IfChanged bool           `help:"Say in one line that nothing changed, if so, and nothing else."`
	Quiet     bool           `short:"q" help:"Say only what a mail should: what was published, warnings, failures."`
	NoWait    bool           `xor:"wait" help:"Exit with 75 at once if another run of this pipeline and profile is under way."`
	Wait      *time.Duration `xor:"wait" help:"Wait this long at most for other runs, of this pipeline and profile or that compute a result that is needed; then exit with 75." placeholder:"DURATION"`
}

// Validate is called by kong.
func (u *unattended) Validate() error {
	if u.Wait != nil && *u.Wait <= 0 {
		return fmt.Errorf("--wait: must be above 0, got %s (--no-wait does not wait at all)", u.Wait)
	}
	return nil
}

// maxWait is how long the run may wait for others; 0 is without end.
func (u *unattended) maxWait() time.Duration {
	if u.Wait == nil {
		return 0
	}
	return *u.Wait
}

// sink returns where the run's events go.
func (c *runCommand) sink(a *app) (runner.Sink, error) {
	var sink runner.Sink = &quietSink{out: a.stdout, errors: a.stderr, now: time.Now}
	if !c.Quiet || c.JSON {
		var err error
		if sink, err = a.newSink(c.JSON, c.UI); err != nil {
			return nil, err
		}
	}
	if !c.IfChanged || c.DryRun {
		return sink, nil
	}
	h := &holdingSink{to: sink, json: c.JSON}
	if !c.Quiet && !c.JSON {
		h.idle = a.stdout
	}
	return h, nil
}

// holdingSink holds a run's events back until something happens. If nothing does,
// they are dropped for one line.
type holdingSink struct {
	to    runner.Sink
	json  bool
	idle  io.Writer // nil: nothing is said
	held  []runner.Event
	start runner.Event
	open  bool
}

func (h *holdingSink) Event(e runner.Event) {
	if e.Type == "run_start" {
		h.start = e
	}
	if !h.open && !e.Happened() {
		h.held = append(h.held, e)
		return
	}
	h.release()
	h.to.Event(e)
}

func (h *holdingSink) release() {
	h.open = true
	for _, e := range h.held {
		h.to.Event(e)
	}
	h.held = nil
}

func (h *holdingSink) Summary(sum runner.Summary) {
	if !h.open && sum.Idle() {
		if h.idle != nil {
			fmt.Fprintf(h.idle, "%s (%s): nothing changed, %d cached\n", h.start.Pipeline, h.start.Profile, len(sum.Stages))
		}
		if h.json {
			h.to.Summary(sum)
		}
		return
	}
	h.release()
	h.to.Summary(sum)
}

// waitPause is how often a run that waits for another one looks again.
const waitPause = 50 * time.Millisecond

// register notes that a run of the plan is under way, after waiting for others as
// the flags say. The pipeline is its file, wherever it is named from.
func (c *runCommand) register(a *app, store *cache.Store, plan *pipeline.Plan) (end func(), err error) {
	name := "run\x00" + realPath(plan.File) + "\x00" + plan.Profile
	alone := c.NoWait || c.Wait != nil
	deadline, told := time.Now().Add(c.maxWait()), false
	for {
		end, busy, err := store.RegisterRun(a.ctx, name, alone)
		if err != nil || busy == "" {
			return end, err
		}
		if c.NoWait {
			return nil, busyError{fmt.Errorf("%s (%s) is being run already, by %s", plan.File, plan.Profile, busy)}
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, busyError{fmt.Errorf("%s (%s) is still being run after %s of waiting, by %s", plan.File, plan.Profile, c.maxWait(), busy)}
		}
		if !told && !c.Quiet {
			told = true
			c.log(a).Info("waiting for another run of this pipeline and profile", "holder", busy)
		}
		select {
		case <-a.ctx.Done():
			return nil, a.ctx.Err()
		case <-time.After(min(waitPause, left)):
		}
	}
}

// realPath is a file's path without links, absolute; what cannot be found stays as it is.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

// runHook tells the pipeline's hook of a run's end. A hook that fails is worth a
// warning and no more.
func (c *runCommand) runHook(a *app, plan *pipeline.Plan, summary runner.Summary) {
	r := a.newRunner(plan, nil)
	r.Stop = a.stop.Take()
	if err := r.RunHook(a.ctx, summary); err != nil {
		c.log(a).Warn(err.Error())
	}
}

// log is where the command says what is no event of the run.
func (c *runCommand) log(a *app) logging.Logger {
	if c.JSON {
		return logging.NewJSON(a.stderr)
	}
	return a.log
}
