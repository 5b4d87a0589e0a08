package runner

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline"
	"pipe/stages"
)

// What a check of a known result may find: words of check events.
const (
	checkedSame   = "same"
	checkedOther  = "different"
	checkedTier   = "other tier" // different, and made on another CPU tier: nothing was promised
	checkedExempt = "exempt"     // a clock shaped it
	checkedFailed = "failed"     // the stage fails although a result is known
)

// stoppedByClock is Made.StoppedBy of a result that another run need not repeat.
const stoppedByClock = "time_budget"

// checkError is a stage that makes other bytes than it made.
type checkError struct {
	text string
	err  error // that ended the stage, or nil
}

func (e *checkError) Error() string { return "checked: " + e.text }
func (e *checkError) Unwrap() error { return e.err }

// checks says whether known results of a step are to be checked. Those of steps that
// were not chosen are only read.
func (r *Runner) checks(s *pipeline.Step) bool { return r.CheckCache && r.mayRun(s) }

// checked is the result of a hit after the stage has run once more. What keeps it from
// running, and is not its own doing, ends the step as it would end any.
func (t *task) checked(ctx context.Context, res stepResult) stepResult {
	err := t.recheck(ctx, &res)
	if err == nil {
		return res
	}
	res.record, res.differs, res.check = nil, nil, ""
	if damaged := (*errDamagedInput)(nil); errors.As(err, &damaged) {
		res.damaged = damaged.from
	}
	return failed(ctx, res, err)
}

// recheck runs a stage whose result is known once more, in a private folder, and
// compares the bytes. The known result stays whatever comes out: res says what it is.
func (t *task) recheck(ctx context.Context, res *stepResult) error {
	known := res.record
	e := Event{Type: "check", Stage: t.step.Name, Key: t.key.String()}
	if exempt(known) {
		res.check = checkedExempt
		e.Decision, e.Why = checkedExempt, "its time budget stopped it: another run may stop elsewhere"
		t.runner.emit(e)
		return nil
	}
	started := t.runner.Now()
	again, attempts, err := t.attempt().withRetries(ctx, func(b *attempt) error {
		b.against, b.log.silent = known, true
		return b.run(ctx, started, false)
	})
	e.Seconds = t.runner.Now().Sub(started).Seconds()
	again.keep()
	tier := again.record.Made.Tier
	damaged := (*errDamagedInput)(nil)
	switch {
	case ctx.Err() != nil:
		return context.Canceled
	case errors.Is(err, stages.ErrStopped), errors.As(err, &damaged), err != nil && exitOf(err) != 1:
		return err
	case err != nil:
		e.Decision, e.Why = checkedFailed, "it does not run any more: "+err.Error()
	case len(again.differs) == 0:
		e.Decision = checkedSame
	case tier != known.Made.Tier:
		e.Decision = checkedTier
		e.Why = fmt.Sprintf("made on tier %s, now on tier %s: %s", orNone(known.Made.Tier), orNone(tier), strings.Join(again.differs, "; "))
	default:
		e.Decision, e.Why = checkedOther, strings.Join(again.differs, "; ")
	}
	if attempts > 1 {
		e.Attempt = attempts
	}
	t.runner.emit(e)
	if res.check = e.Decision; res.check == checkedOther || res.check == checkedFailed {
		res.differs = &checkError{e.Why, err}
	}
	return nil
}

// exempt says whether another run need not make the bytes of a record.
func exempt(known *cache.Record) bool { return known.Made.StoppedBy == stoppedByClock }

func orNone(tier string) string {
	if tier == "" {
		return "none"
	}
	return tier
}

// compareOutputs notes in what the outputs of this attempt differ from those of the
// record that it is held against.
func (a *attempt) compareOutputs(ctx context.Context) error {
	for _, o := range a.step.Outputs {
		before, had := a.against.Outputs[o.Name]
		now, entries, made, err := measureOutput(ctx, filepath.Join(a.dir, "out", o.Name))
		switch {
		case err != nil:
			return err
		case had != made:
			a.differs = append(a.differs, fmt.Sprintf("output %s %s", o.Name, map[bool]string{true: "is made now and was not", false: "was made and is not now"}[made]))
		case before == now:
		case before.Kind == cache.Tree && now.Kind == cache.Tree:
			a.differs = append(a.differs, fmt.Sprintf("output %s: %s", o.Name, a.differingFiles(before, entries)))
		default:
			a.differs = append(a.differs, fmt.Sprintf("output %s was %s of %d bytes, and is %s of %d", o.Name, before.Digest.Short(), before.Size, now.Digest.Short(), now.Size))
		}
	}
	if a.record.Withheld != a.against.Withheld {
		a.differs = append(a.differs, fmt.Sprintf("withheld was %q, and is %q", a.against.Withheld, a.record.Withheld))
	}
	return nil
}

func measureOutput(ctx context.Context, path string) (o cache.Object, entries []manifest.Entry, made bool, err error) {
	if !there(path) {
		return o, nil, false, nil
	}
	o, entries, err = cache.Measure(ctx, path)
	return o, entries, true, err
}

// shownFiles is how many files of a folder are named when they differ.
const shownFiles = 5

// differingFiles names the files that differ.
func (a *attempt) differingFiles(before cache.Object, now []manifest.Entry) string {
	old, err := a.runner.Store.ReadTree(before.Digest)
	if err != nil {
		return err.Error()
	}
	byPath := map[string]manifest.Entry{}
	for _, e := range old {
		byPath[e.Path] = e
	}
	var names []string
	for _, e := range now {
		if b, ok := byPath[e.Path]; !ok {
			names = append(names, e.Path+" is new")
		} else if b != e {
			names = append(names, e.Path)
		}
		delete(byPath, e.Path)
	}
	for path := range byPath {
		names = append(names, path+" is gone")
	}
	slices.Sort(names)
	more := ""
	if len(names) > shownFiles {
		names, more = names[:shownFiles], fmt.Sprintf(" and %d more", len(names)-shownFiles)
	}
	return strings.Join(names, ", ") + more
}

// useScratchState gives a resumable stage that is only checked a state that ends with
// the attempt.
func (a *attempt) useScratchState() {
	if a.against != nil && a.step.Params.Resumable() {
		a.state = &keptState{attempt: a, state: cache.ScratchState(filepath.Join(a.dir, "state"))}
	}
}

// finish is what follows when a stage has made its outputs: they are committed, or
// compared.
func (a *attempt) finish(ctx context.Context, started time.Time, recompute bool) error {
	if a.against != nil {
		return a.compareOutputs(ctx)
	}
	return a.commit(ctx, started, recompute)
}
