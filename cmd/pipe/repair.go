package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline"
	"pipe/pipeline/runner"
)

// repair moves what is damaged away, and runs the stages that made it, as far as they
// would make the same: those of this folder's pipelines whose keys did not change.
func (v *verification) repair() error {
	lost := v.lostResults()
	pipelines := v.pipelines(lost)
	for i := range v.report.Bad {
		b := &v.report.Bad[i]
		if b.place != nil || b.What == "record" && lost[keyNamed(b.Name)].elsewhere {
			continue
		}
		if err := v.store.Remove(b.Bad); err != nil {
			b.Remark = "it cannot be moved away: " + err.Error()
		}
	}
	for _, g := range pipelines {
		if err := g.run(v, lost); err != nil {
			return err
		}
	}
	for i := range v.report.Bad {
		v.conclude(&v.report.Bad[i], lost)
	}
	return v.app.ctx.Err()
}

// lostResults are the results that lack a record or an output, by key.
func (v *verification) lostResults() map[cache.Key]*lostResult {
	lost := map[cache.Key]*lostResult{}
	for _, b := range v.report.Bad {
		var k cache.Key
		if b.What == "record" && k.UnmarshalText([]byte(b.Name)) == nil {
			lost[k] = &lostResult{}
		}
		for _, n := range b.Named {
			if n.IsOutput() && lost[n.Key] == nil {
				lost[n.Key] = &lostResult{}
			}
		}
	}
	return lost
}

// lostResult is a result that is to be made again.
type lostResult struct {
	why       string // it was not, or not yet
	elsewhere bool   // a run in another folder used it: there it may be made again
}

// pipelineUse is a pipeline as runs of this folder used it.
type pipelineUse struct {
	runner.StageUse
	stages []string // with lost results
}

// pipelines lists those that used lost results. Of a file and profile the newest run
// tells with which --set.
func (v *verification) pipelines(lost map[cache.Key]*lostResult) []*pipelineUse {
	dir, _ := os.Getwd()
	var found []*pipelineUse
	for k, l := range lost {
		stages := v.uses.Stages[k]
		if len(stages) == 0 {
			l.why = "no run tells which stage made it"
		}
		for _, s := range stages {
			if !s.Here(dir) {
				l.why, l.elsewhere = fmt.Sprintf("it was made in %s; run pipe verify --repair there", s.Dir), true
				continue
			}
			i := slices.IndexFunc(found, func(p *pipelineUse) bool {
				return p.File == s.File && p.Profile == s.Profile && slices.Equal(p.Set, s.Set)
			})
			if i < 0 {
				i, found = len(found), append(found, &pipelineUse{StageUse: s})
			}
			if !slices.Contains(found[i].stages, s.Stage) {
				found[i].stages = append(found[i].stages, s.Stage)
			}
		}
	}
	slices.SortFunc(found, func(a, b *pipelineUse) int { return strings.Compare(b.Run, a.Run) })
	return found
}

// run runs the stages of a pipeline whose results are lost and would be made again.
func (p *pipelineUse) run(v *verification, lost map[cache.Key]*lostResult) error {
	profile := p.Profile
	if profile == pipeline.DefaultProfile {
		profile = ""
	}
	plan, err := v.app.resolve(p.File, profile, p.Set)
	if err != nil {
		for k, l := range lost {
			if slices.ContainsFunc(v.uses.Stages[k], func(s runner.StageUse) bool { return s.File == p.File }) {
				l.why = fmt.Sprintf("%s cannot be read any more (pipe check)", p.File)
			}
		}
		return nil
	}
	r := v.app.newRunner(plan, v.store)
	forecasts, err := r.Forecast(v.app.ctx)
	if err != nil {
		return err
	}
	targets := p.repairable(forecasts, lost)
	if len(targets) == 0 {
		return nil
	}
	r = v.app.newRunner(plan, v.store)
	if r.Sink, err = v.app.newSink(false, uiPlain); err != nil {
		return err
	}
	// What a newer run published, and what it tells of, stays: an old result takes nobody's place.
	r.Targets, r.Unlisted, r.Stop = targets, true, v.app.stop.Take()
	if v.command.JSON {
		r.Sink = &silent{}
	}
	if err := r.Preflight(); err != nil {
		return usageError{err}
	}
	_, err = r.Run(v.app.ctx)
	return err
}

// repairable lists the stages that a run would bring back to what was lost: those with
// the same key and, behind them, those that may have the same again.
func (p *pipelineUse) repairable(forecasts []runner.Forecast, lost map[cache.Key]*lostResult) []string {
	var targets []string
	hit := map[string]bool{}
	for _, f := range forecasts {
		name := f.Step.Name
		var k cache.Key
		_ = k.UnmarshalText([]byte(f.Key)) // a stage that may run has none
		switch {
		case f.Prospect == runner.WouldHit:
			hit[name] = true
		case f.Prospect == runner.WouldRun && lost[k] != nil:
			targets = append(targets, name)
		case f.Prospect == runner.MightRun && slices.Contains(p.stages, name):
			ok := true
			for _, in := range f.Step.Inputs {
				for from := range in.Makers() {
					ok = ok && (hit[from.Name] || slices.Contains(targets, from.Name))
				}
			}
			if ok {
				targets = append(targets, name)
			}
		}
	}
	return targets
}

// conclude says what became of something bad.
func (v *verification) conclude(b *finding, lost map[cache.Key]*lostResult) {
	switch {
	case b.Remark != "":
	case b.place != nil:
		if err := b.place.Restore(v.app.ctx, v.store); err != nil {
			b.Remark = "it cannot be restored: the store has it no more"
			if !errors.Is(err, cache.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
				b.Remark = "it cannot be restored: " + err.Error()
			}
			return
		}
		b.Repaired, b.Remark = true, "restored from the store"
	case b.What == badHistory:
		b.Repaired, b.Remark = true, "moved away: what its run used and published is not known; pipe gc may remove it from the store until its pipeline is run again"
	case b.What == "state":
		b.Repaired, b.Remark = true, "moved away: its stage goes on from what it saved before, or from the start"
	case b.What == "record":
		v.concludeResults(b, lost, []cache.Key{keyNamed(b.Name)})
	case len(b.Named) == 0:
		b.Repaired, b.Remark = true, "moved away: no result needs it"
	default:
		var keys []cache.Key
		for _, n := range b.Named {
			if n.IsOutput() && !slices.Contains(keys, n.Key) {
				keys = append(keys, n.Key)
			}
		}
		v.forgetExtras(b)
		if len(keys) > 0 {
			v.concludeResults(b, lost, keys)
		}
	}
}

func keyNamed(name string) (k cache.Key) {
	_ = k.UnmarshalText([]byte(name)) // it was found by its name
	return k
}

// concludeResults says whether results are there again. The record of one that is not
// is moved away, so that nothing names what is not there; unless it is what another
// folder's repair goes by.
func (v *verification) concludeResults(b *finding, lost map[cache.Key]*lostResult, keys []cache.Key) {
	b.Repaired, b.Remark = true, "made again"
	for _, k := range keys {
		if record, _ := v.store.Lookup(k); record != nil {
			continue
		}
		why := "its parameters or inputs are no longer those that it was made of; it is made again when they are"
		l := lost[k]
		if l != nil && l.why != "" {
			why = l.why
		}
		b.Repaired, b.Remark = false, "cannot be made again: "+why
		if l != nil && l.elsewhere {
			continue
		}
		if err := v.store.RemoveRecord(k); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.Remark += "; its record stays: " + err.Error()
		}
	}
}

// forgetExtras has records no longer name a log, an attachment or a description that
// is lost. Their results are whole.
func (v *verification) forgetExtras(b *finding) {
	for _, n := range b.Named {
		if n.IsOutput() {
			continue
		}
		d, err := manifest.ParseDigest(b.Name)
		if err == nil {
			err = v.store.Forget(n.Key, d)
		}
		b.Repaired, b.Remark = err == nil, n.As+" is lost and cannot be made again; the result is whole"
		if err != nil {
			b.Remark += ", but its record cannot be written: " + err.Error()
		}
	}
}

// fileOf is the real path of the pipeline file of a use.
func fileOf(s runner.StageUse) string { return realPath(absoluteIn(s.Dir, s.File)) }

func absoluteIn(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
