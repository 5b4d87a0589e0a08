package explain

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/pipeline/runner"
)

// Run is a run in a few words.
type Run struct {
	ID        string                 `json:"run"`
	Time      time.Time              `json:"time"`
	Pipeline  string                 `json:"pipeline"`
	Profile   string                 `json:"profile"`
	File      string                 `json:"file"`
	Dir       string                 `json:"dir"`
	Set       []string               `json:"set,omitempty"`
	Outcome   string                 `json:"outcome"`
	Exit      *int                   `json:"exit,omitempty"` // absent where it did not end
	Counts    map[runner.Outcome]int `json:"counts"`
	Seconds   float64                `json:"seconds"`
	Checked   int                    `json:"checked,omitempty"`     // stages that --check-cache ran once more
	Wrong     int                    `json:"other_bytes,omitempty"` // those of them that did not make the same bytes
	Published []runner.Published     `json:"published"`
}

// NotStarted counts the stages that an interrupt kept from being started.
const NotStarted runner.Outcome = "not started"

// Interruption are the stages that an interrupt ended, or kept from being started.
type Interruption map[string]bool

// Before takes the end of a stage, and says whether the interrupt came before its start.
// Stages are told after those that they need.
func (i Interruption) Before(stage string, outcome runner.Outcome, why string) bool {
	need, _ := strings.CutPrefix(why, "needs ")
	if outcome != runner.Interrupted && !(outcome == runner.Skipped && i[need]) {
		delete(i, stage)
		return false
	}
	i[stage] = true
	return outcome == runner.Skipped || why == runner.NotStarted
}

// RunOf sums a run up.
func RunOf(p *runner.Past) Run {
	r := Run{ID: p.ID, Time: p.Start.Time, Pipeline: p.Start.Pipeline, Profile: p.Start.Profile, File: p.Start.File, Dir: p.Start.Dir,
		Set: p.Start.Set, Outcome: "unfinished", Counts: map[runner.Outcome]int{}, Published: []runner.Published{}}
	end, stopped := p.Start.Time, Interruption{}
	for _, e := range p.Events {
		switch {
		case e.Type != "stage_end":
		case stopped.Before(e.Stage, e.Outcome, e.Why):
			r.Counts[NotStarted]++
		default:
			r.Counts[e.Outcome]++
		}
		end = e.Time
	}
	if p.Summary != nil {
		r.Exit, r.Outcome, end = &p.Summary.Exit, outcomeOf(p.Summary.Exit), p.Summary.Time
		r.Checked, r.Wrong = p.Summary.Checked()
		r.Published = append(r.Published, p.Summary.Published...)
	}
	r.Seconds = end.Sub(r.Time).Seconds()
	return r
}

// outcomeOf names what an exit code says.
func outcomeOf(exit int) string {
	switch exit {
	case 0:
		return "done"
	case 3:
		return "held back"
	case 75:
		return "busy"
	case 130:
		return "interrupted"
	}
	return "failed"
}

// RunDiff says in what two runs differ.
type RunDiff struct {
	From   Run         `json:"from"`
	To     Run         `json:"to"`
	Stages []StageDiff `json:"stages"` // those in which something differs
}

// StageDiff says in what a stage of two runs differs. Changes are those of the stage
// itself and of the files that it reads; what other stages made is theirs.
type StageDiff struct {
	Stage   string             `json:"stage"`
	Only    string             `json:"only,omitempty"` // the run that has it, if one has
	Changes []Cause            `json:"changes,omitempty"`
	Outputs map[string]Objects `json:"outputs,omitempty"` // by port, those that differ
	Metrics map[string]Values  `json:"metrics,omitempty"` // where training ended, those that differ
	Scores  *ScoresDiff        `json:"scores,omitempty"`
	Outcome [2]string          `json:"outcome"`
}

// Objects is an output in two runs; nil where it was not made.
type Objects struct {
	Old *cache.Object `json:"old"`
	New *cache.Object `json:"new"`
}

// Values is a number in two runs; nil where there is none.
type Values struct {
	Old *float64 `json:"old"`
	New *float64 `json:"new"`
}

// Scores is the file score.json at the top of an output: how adapters, named by the
// digests of their folders, did on a suite.
type Scores struct {
	Suite    string             `json:"suite"`
	Base     string             `json:"base"`
	Template string             `json:"template"`
	Scores   map[string]float64 `json:"scores"`
}

// ScoresDiff compares the scores of two runs: the best ones, and those of the
// adapters that are an output of the run (the chosen ones).
type ScoresDiff struct {
	Best   Values `json:"best"`
	Chosen Values `json:"chosen"`
	// Comparable is false if suite, base or template differ.
	Comparable bool `json:"comparable"`
}

const scoresFile = "score.json"

// Diff compares two runs.
func (e *Explainer) Diff(from, to *runner.Past) (*RunDiff, error) {
	d := &RunDiff{From: RunOf(from), To: RunOf(to), Stages: []StageDiff{}}
	old, new := past(e.Store, from), past(e.Store, to)
	oldMetrics, err := MetricsOf(e.Store, from, "")
	if err != nil {
		oldMetrics = nil // they are gone: the rest can be told
	}
	newMetrics, err := MetricsOf(e.Store, to, "")
	if err != nil {
		newMetrics = nil
	}
	mask := e.hide(old, new)
	for _, stage := range stagesOf(from, to) {
		a, b := old.stages[stage], new.stages[stage]
		s := StageDiff{Stage: stage}
		switch {
		case a == nil && b == nil:
			continue
		case a == nil || b == nil:
			s.Only = to.ID
			if b == nil {
				s.Only = from.ID
			}
			d.Stages = append(d.Stages, s)
			continue
		}
		c := &comparison{Explainer: e, old: old, new: new, mask: mask, told: map[string]bool{}}
		s.Outcome = [2]string{a.outcome, b.outcome}
		s.Changes = c.own(a, b)
		s.Outputs = diffOutputs(a.outputs, b.outputs)
		s.Metrics = diffValues(lastOf(oldMetrics, stage), lastOf(newMetrics, stage))
		s.Scores = e.diffScores(old, new, a, b)
		if len(s.Changes) > 0 || len(s.Outputs) > 0 || len(s.Metrics) > 0 || s.Scores != nil {
			d.Stages = append(d.Stages, s)
		}
	}
	return d, nil
}

// stagesOf lists the stages of two runs in the order of the newer, then the older.
func stagesOf(from, to *runner.Past) []string {
	names := slices.Clone(to.Start.Stages)
	for _, n := range from.Start.Stages {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// own lists the changes that are a stage's own: not what stages before it made.
func (c *comparison) own(old, new *instance) []Cause {
	var causes []Cause
	before, err1 := old.description()
	now, err2 := new.description()
	if err1 == nil && err2 == nil {
		causes = c.descriptionCauses(before, now, new)
	}
	for _, port := range sortedKeys(new.inputs, old.inputs) {
		for _, cause := range c.inputCauses(port, old, new) {
			if cause.What != Upstream {
				causes = append(causes, cause)
			}
		}
	}
	return causes
}

func diffOutputs(old, new map[string]cache.Object) map[string]Objects {
	diff := map[string]Objects{}
	for _, port := range sortedKeys(old, new) {
		a, had := old[port]
		b, has := new[port]
		if a == b && had == has {
			continue
		}
		var o Objects
		if had {
			o.Old = &a
		}
		if has {
			o.New = &b
		}
		diff[port] = o
	}
	return diff
}

func lastOf(all []*Metrics, stage string) map[string]float64 {
	for _, m := range all {
		if m.Stage == stage {
			return m.Last()
		}
	}
	return nil
}

func diffValues(old, new map[string]float64) map[string]Values {
	diff := map[string]Values{}
	for _, name := range sortedKeys(old, new) {
		a, had := old[name]
		b, has := new[name]
		if a == b && had == has {
			continue
		}
		var v Values
		if had {
			v.Old = &a
		}
		if has {
			v.New = &b
		}
		diff[name] = v
	}
	return diff
}

// diffScores compares the scores among two stages' outputs; nil if nothing differs.
func (e *Explainer) diffScores(old, new *snapshot, a, b *instance) *ScoresDiff {
	x, y := e.scores(a), e.scores(b)
	if x == nil && y == nil {
		return nil
	}
	d := &ScoresDiff{Best: Values{best(x), best(y)}, Chosen: Values{chosen(x, old), chosen(y, new)}}
	d.Comparable = x != nil && y != nil && x.Suite == y.Suite && x.Base == y.Base && x.Template == y.Template
	if d.Comparable && same(d.Best) && same(d.Chosen) {
		return nil
	}
	return d
}

func same(v Values) bool {
	return v.Old == v.New || v.Old != nil && v.New != nil && *v.Old == *v.New
}

// scores reads score.json of an output of the stage, if there is one.
func (e *Explainer) scores(i *instance) *Scores {
	for _, port := range sortedKeys(i.outputs) {
		o := i.outputs[port]
		if o.Kind != cache.Tree {
			continue
		}
		entries, err := e.Store.ReadTree(o.Digest)
		if err != nil {
			continue
		}
		for _, f := range entries {
			if f.Path != scoresFile {
				continue
			}
			var s Scores
			if b, err := e.Store.ReadBlob(f.Digest); err == nil && json.Unmarshal(b, &s) == nil {
				return &s
			}
		}
	}
	return nil
}

func best(s *Scores) *float64 {
	if s == nil || len(s.Scores) == 0 {
		return nil
	}
	var most *float64
	for _, score := range s.Scores {
		if most == nil || score > *most {
			most = &score
		}
	}
	return most
}

// chosen is the score of an adapter that is itself an output of the run.
func chosen(s *Scores, run *snapshot) *float64 {
	if s == nil {
		return nil
	}
	for _, stage := range sortedKeys(run.stages) {
		for _, o := range run.stages[stage].outputs {
			if score, ok := s.Scores[o.Digest.String()]; ok {
				return &score
			}
		}
	}
	return nil
}
