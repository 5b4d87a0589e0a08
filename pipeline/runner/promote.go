package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pipe/cache"
	"pipe/internal/atomicfile"
	"pipe/pipeline"
)

// A promotion decides whether a folder replaces what is published, and puts it
// there. It is no part of the plan and of no key: the same candidate may meet
// another published version tomorrow.
type promotion struct {
	runner    *Runner
	step      *pipeline.Step
	judge     *pipeline.Input // whose scores decide; nil if nothing is compared
	at        place
	object    cache.Object
	candidate ledgerEntry            // the line to write if it is published
	again     map[string]ledgerEntry // scores that were made for this decision, by digest
	healed    string                 // the published version, if it was restored
}

// verdict is what becomes of an output that was to be published, and why.
type verdict struct {
	decision       string
	why            string
	score, against *float64                        // of the candidate and of what is published, if they were compared
	fresh          bool                            // a decision against the candidate that was not made before
	healed         string                          // the published version, if somebody had changed it and it was restored
	note           func(ctx context.Context) error // remembers a fresh decision
}

// incumbent is what is published: the version that the link names and the digest of
// what is in it, which differ if somebody changed it; "" where there is nothing.
type incumbent struct{ version, digest string }

// scoreAgain is the decision that there can be none before what is published has a
// score on the candidate's terms.
const scoreAgain = "score again"

// promote puts a folder at a place by a link to a version of its own, unless what is
// published is better, was rolled back to, or belongs to another base.
func (r *Runner) promote(ctx context.Context, s *pipeline.Step, p pipeline.Publication, o cache.Object, record *cache.Record) (verdict, error) {
	m := &promotion{runner: r, step: s, judge: p.UnlessWorse, at: place{store: r.Store, to: p.To}, object: o, again: map[string]ledgerEntry{}}
	m.candidate = ledgerEntry{Digest: o.Digest.String(), Key: record.Key.String(), Run: r.id, Decision: wasPublished}
	if m.judge != nil {
		made := r.records[m.judge.From.Name].Outputs[m.judge.FromPort]
		scored, err := r.readScore(m.judge, made, m.candidate.Digest)
		if err != nil {
			return verdict{}, err
		}
		m.candidate.terms, m.candidate.Score = scored.terms, &scored.score
	}
	if err := atomicfile.MkdirAll(m.at.versions()); err != nil {
		return verdict{}, err
	}
	for {
		v, now, err := m.settle(ctx)
		if err != nil || v.decision != scoreAgain {
			return v, err
		}
		// Scoring takes its time, so the place is not locked meanwhile. Then it is
		// looked at anew.
		if m.again[now.digest], err = m.scorePublished(ctx, now, v.why); err != nil {
			return verdict{}, err
		}
	}
}

// settle decides and acts, with the place locked. now is what was published before.
func (m *promotion) settle(ctx context.Context) (v verdict, now incumbent, err error) {
	unlock, err := m.at.lock(ctx)
	if err != nil {
		return v, now, err
	}
	defer unlock()
	c := m.candidate
	c.Time = m.runner.Now().UTC()
	s, err := m.at.read(c)
	if err != nil {
		return v, now, err
	}
	if m.at.linked() == c.Digest {
		v, err = m.stay(ctx, s, c)
		return v, now, err
	}
	if now, err = m.heal(ctx, s, c); err != nil {
		return v, now, err
	}
	c.Previous = now.version
	v = m.decide(s, now, c)
	c.Decision, c.Why = v.decision, v.why
	v.healed = m.healed
	switch {
	case v.decision == wasRefused:
		err = errors.New(v.why)
	case v.decision == wasKept && v.fresh:
		v.note = func(ctx context.Context) error { return m.remember(ctx, c) }
	case v.decision == wasPublished:
		err = m.replace(ctx, s, c)
	}
	return v, now, err
}

// remember notes a decision against the candidate in the ledger.
func (m *promotion) remember(ctx context.Context, c ledgerEntry) error {
	unlock, err := m.at.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := m.at.read(c)
	if err != nil {
		return err
	}
	return m.at.note(s, c)
}

// decide says what becomes of a candidate where something else is published.
func (m *promotion) decide(s *shelf, now incumbent, c ledgerEntry) verdict {
	holds := now.digest
	if holds == "" {
		return verdict{decision: wasPublished}
	}
	if out, ok := s.out[c.Digest]; ok && !m.runner.Promote {
		return verdict{decision: wasKept, why: fmt.Sprintf("%s was rolled back on %s and stays out until another is published (pipe run --promote publishes it)",
			short(c.Digest), out.Time.Local().Format("2006-01-02 15:04"))}
	}
	if m.judge == nil {
		return verdict{decision: wasPublished}
	}
	was, ok := m.again[holds]
	if ok { // it was asked in the template that it was trained with, the only one there is for it
		was.Template = c.Template
	} else {
		was = s.put[holds]
	}
	if base := s.put[now.version].Base; base != "" { // a score that was made now is on the candidate's base
		was.Base = base
	}
	if was.Base != "" && c.Base != "" && was.Base != c.Base {
		if !m.runner.ReplaceBase {
			return verdict{decision: wasRefused, why: fmt.Sprintf("%s holds what belongs to base %s, and this belongs to base %s (pipe run --replace-base publishes it all the same)",
				m.at.to, short(was.Base), short(c.Base))}
		}
		return verdict{decision: wasPublished, why: fmt.Sprintf("base %s in the place of base %s, asked for by --replace-base", short(c.Base), short(was.Base))}
	}
	if m.runner.Promote {
		return verdict{decision: wasPublished, why: "asked for by --promote"}
	}
	if why := c.terms.differs(was, m.judge.From.Name); why != "" {
		return verdict{decision: scoreAgain, why: why}
	}
	v := verdict{decision: wasPublished, score: c.Score, against: was.Score}
	v.why = fmt.Sprintf("score %.4g, published %.4g", *c.Score, *was.Score)
	if *c.Score < *was.Score {
		v.decision, v.fresh = wasKept, !s.keptBefore(c)
		v.why = fmt.Sprintf("score %.4g is under the published %.4g", *c.Score, *was.Score)
	}
	return v
}

// stay looks after a candidate that is published already.
func (m *promotion) stay(ctx context.Context, s *shelf, c ledgerEntry) (verdict, error) {
	if m.at.holds(ctx, c.Digest) == c.Digest {
		return verdict{decision: wasUnchanged}, nil
	}
	c.Decision = wasRestored
	if err := m.at.put(m.object); err != nil {
		return verdict{}, err
	}
	return verdict{decision: wasRestored}, m.at.note(s, c)
}

// heal brings the published version back to what its name says, if somebody changed
// it and the store still has it.
func (m *promotion) heal(ctx context.Context, s *shelf, c ledgerEntry) (incumbent, error) {
	linked := m.at.linked()
	now := incumbent{linked, m.at.holds(ctx, linked)}
	if now.version == now.digest || m.at.restore(linked) != nil {
		return now, nil
	}
	m.healed = linked
	return incumbent{linked, linked}, m.at.note(s, ledgerEntry{Time: c.Time, Digest: linked, Run: c.Run, Decision: wasRestored})
}

// replace makes the place a link to the candidate: version, link, ledger.
func (m *promotion) replace(ctx context.Context, s *shelf, c ledgerEntry) error {
	if m.at.holds(ctx, c.Digest) != c.Digest {
		if err := m.at.put(m.object); err != nil {
			return err
		}
	}
	if err := m.at.link(c.Digest); err != nil {
		return err
	}
	if err := m.at.note(s, c); err != nil {
		return err
	}
	m.at.drop(s)
	return nil
}

// checkpointsPort is the input of a judging stage that holds what it scores: a set,
// or one, as here.
const checkpointsPort = "checkpoints"

// scorePublished runs the judging stage once more, on what is published. It is an
// action with a key of its own, so that the next time it is a hit.
func (m *promotion) scorePublished(ctx context.Context, now incumbent, why string) (ledgerEntry, error) {
	r, judge := m.runner, *m.judge.From
	cannot := func(err error) (ledgerEntry, error) {
		return ledgerEntry{}, fmt.Errorf("what is published at %s cannot be compared: %s; %w (pipe run --promote publishes without comparing)", m.at.to, why, err)
	}
	i := slices.IndexFunc(judge.Inputs, func(in pipeline.Input) bool { return in.Port.Name == checkpointsPort })
	if i < 0 {
		return cannot(fmt.Errorf("stage %q has no input %q by which it could be scored again", judge.Name, checkpointsPort))
	}
	judge.Name += " (published)"
	judge.Publish = nil
	judge.Inputs = slices.Clone(judge.Inputs)
	in := &judge.Inputs[i]
	in.From, in.Gathered, in.FromPort, in.Source = nil, nil, "", m.at.version(now.version)
	records := map[*pipeline.Step]*cache.Record{}
	for _, in := range judge.Inputs {
		for from := range in.Makers() {
			records[from] = r.records[from.Name]
		}
	}
	r.emit(Event{Type: "log", Stage: judge.Name, Level: "info", Message: "what is published is scored again: " + why})
	soon, cancel := r.untilStop(ctx)
	defer cancel()
	res := r.runStep(ctx, soon, &judge, records, min(r.total().CPU, r.Machine.CPU), func() {})
	r.stageEnd(res)
	switch {
	case isBusy(res.err):
		return ledgerEntry{}, res.err
	case res.err != nil:
		return cannot(res.err)
	case res.record == nil:
		return ledgerEntry{}, context.Canceled
	}
	scored, err := r.readScore(m.judge, res.record.Outputs[m.judge.FromPort], now.digest)
	if err != nil {
		return cannot(err)
	}
	asked := scored.terms
	asked.Template = m.candidate.Template
	if asked != m.candidate.terms {
		return cannot(fmt.Errorf("%s gave it a score on other terms than the candidate's", judge.Name))
	}
	return ledgerEntry{Digest: now.digest, terms: scored.terms, Score: &scored.score}, nil
}

// damagedScores returns the step, if any, whose scores a publication of s will need
// and that were found damaged in the store: it must run again.
func (r *Runner) damagedScores(s *pipeline.Step, records map[*pipeline.Step]*cache.Record) *pipeline.Step {
	for _, p := range s.Publish {
		if in := p.UnlessWorse; in != nil {
			if o, ok := records[in.From].Outputs[in.FromPort]; ok && errors.Is(r.Store.Verify(o), cache.ErrDamaged) {
				return in.From
			}
		}
	}
	return nil
}
