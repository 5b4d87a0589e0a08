package explain

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/redact"
	"pipe/internal/stagename"
	"pipe/pipeline/runner"
	"pipe/stages"
)

// Explainer answers questions about what a store holds.
type Explainer struct {
	Store *cache.Store
	Kinds *stages.Registry // for the defaults of parameters; nil leaves them out
	// Secrets names variables whose values are hidden, besides those that the runs themselves
	// declare as secrets.
	Secrets []string
	// LookupEnv finds the values of secrets; nil is os.LookupEnv.
	LookupEnv func(name string) (string, bool)
}

// Answer says why a stage ran, or would run.
type Answer struct {
	Stage   string     `json:"stage"`
	Run     string     `json:"run,omitempty"` // "": now
	Time    *time.Time `json:"time,omitempty"`
	Outcome string     `json:"outcome"`           // in that run, or the prospect
	Why     string     `json:"why,omitempty"`     // in one line, as the run said it
	Against string     `json:"against,omitempty"` // the run that it is compared with
	Causes  []Cause    `json:"causes"`
}

// What a Cause is.
const (
	FirstRun   = "first run"
	Lost       = "lost"       // the result that there was cannot be used
	Asked      = "asked for"  // by --recompute
	Parameter  = "parameter"  // Name, Old, New
	SourceData = "source"     // Port, Source, Diff
	Connection = "connection" // Port, Old, New: the port reads something else
	Upstream   = "upstream"   // Port, Stage, and Causes why that made other bytes
	Code       = "code"       // the stage kind's version
	Declared   = "declared"   // a tool or variable that the stage declares: Part, Name
	Ports      = "ports"      // inputs or outputs came or went
	Unknown    = "unknown"
)

// Cause is a reason why a stage ran. Text says it in a sentence, without the details
// in Diff and Causes.
type Cause struct {
	What   string  `json:"what"`
	Text   string  `json:"text"`
	Part   string  `json:"part,omitempty"`
	Name   string  `json:"name,omitempty"`
	Port   string  `json:"port,omitempty"`
	Stage  string  `json:"stage,omitempty"`
	Source string  `json:"source,omitempty"`
	Place  string  `json:"at,omitempty"` // file:line:col in the pipeline file, or the --set
	Old    any     `json:"old,omitempty"`
	New    any     `json:"new,omitempty"`
	Diff   *Diff   `json:"diff,omitempty"`
	Causes []Cause `json:"causes,omitempty"`
}

// InRun says why a stage ran in a run.
func (e *Explainer) InRun(p *runner.Past, stage string) (*Answer, error) {
	s := past(e.Store, p)
	i := s.stages[stage]
	if i == nil {
		return nil, fmt.Errorf("run %s has no stage %q", p.ID, stage)
	}
	a := &Answer{Stage: stage, Run: p.ID, Time: &p.Start.Time, Outcome: i.outcome, Why: i.why, Causes: []Cause{}}
	if i.outcome == string(runner.Cached) || i.outcome == string(runner.Skipped) || i.key == "" {
		return a, nil // it did not run: there is nothing to tell
	}
	old, err := before(e.Store, p.Start.Pipeline, p.Start.Profile, stage, p.ID)
	if err != nil {
		return nil, err
	}
	e.compare(a, old, s)
	return a, nil
}

// Now says why a stage would run, given what Runner.Forecast said of the pipeline.
func (e *Explainer) Now(forecasts []runner.Forecast, pipelineName, profile, stage string) (*Answer, error) {
	s := present(forecasts)
	i := s.stages[stage]
	if i == nil {
		return nil, fmt.Errorf("the pipeline has no stage %q", stage)
	}
	a := &Answer{Stage: stage, Outcome: i.outcome, Why: i.why, Causes: []Cause{}}
	if i.outcome == string(runner.WouldHit) {
		return a, nil
	}
	old, err := before(e.Store, pipelineName, profile, stage, "")
	if err != nil {
		return nil, err
	}
	e.compare(a, old, s)
	return a, nil
}

func (e *Explainer) compare(a *Answer, old, new *snapshot) {
	mask := e.hide(old, new)
	a.Why = mask.Text(a.Why)
	if old == nil {
		a.Causes = append(a.Causes, Cause{What: FirstRun, Text: "no earlier run of this pipeline and profile has a result of this stage"})
		return
	}
	a.Against = old.run.ID
	c := &comparison{Explainer: e, old: old, new: new, mask: mask, told: map[string]bool{}}
	a.Causes = c.causes(a.Stage)
}

// comparison is that of two snapshots.
type comparison struct {
	*Explainer
	old, new *snapshot
	mask     *redact.Mask
	told     map[string]bool // stages whose causes were listed
}

// causes lists why a stage's key moved from one snapshot to the other.
func (c *comparison) causes(stage string) []Cause {
	old, new := c.old.stages[stage], c.new.stages[stage]
	switch {
	case old == nil:
		return []Cause{{What: FirstRun, Text: fmt.Sprintf("run %s had no stage %s", c.old.run.ID, stage)}}
	case old.key == new.key && new.key != "":
		return []Cause{sameKey(new)}
	}
	var causes []Cause
	if wasAsked(new) {
		causes = append(causes, Cause{What: Asked, Text: new.why})
	}
	before, err1 := old.description()
	now, err2 := new.description()
	if errors.Join(err1, err2) != nil {
		causes = append(causes, Cause{What: Unknown, Text: "the last result is no longer known: its parameters cannot be compared"})
	} else {
		causes = append(causes, c.descriptionCauses(before, now, new)...)
	}
	for _, port := range sortedKeys(new.inputs, old.inputs) {
		causes = append(causes, c.inputCauses(port, old, new)...)
	}
	if len(causes) == 0 {
		causes = append(causes, Cause{What: Unknown, Text: new.why})
	}
	return causes
}

func wasAsked(i *instance) bool { return strings.HasSuffix(i.why, "--recompute") }

// sameKey is the cause where nothing moved and a stage ran all the same.
func sameKey(i *instance) Cause {
	if wasAsked(i) {
		return Cause{What: Asked, Text: i.why}
	}
	return Cause{What: Lost, Text: "nothing that it depends on has changed: " + i.why}
}

// descriptionCauses are those that lie in the stage itself.
func (c *comparison) descriptionCauses(before, now cache.Value, new *instance) []Cause {
	var causes []Cause
	wrap := func(d cache.Value) cache.Value { return map[string]cache.Value{"description": d} }
	for _, d := range runner.DiffPreimages(wrap(before), wrap(now)) {
		d = d.Masked(c.mask)
		cause := Cause{Part: string(d.Part), Name: d.Name, Old: plain(d.Old), New: plain(d.New)}
		switch d.Part {
		case runner.KindPart:
			cause.What, cause.Text = Code, fmt.Sprintf("it is a stage of kind %v, and was one of %v", d.New, d.Old)
		case runner.VersionPart:
			cause.What, cause.Text = Code, fmt.Sprintf("the code of its kind is version %v, and was %v", d.New, d.Old)
		case runner.OutputsPart:
			cause.What, cause.Text = Ports, "its outputs have other names"
		case runner.ParamPart:
			cause.What, cause.Place = Parameter, new.params[d.Name]
			old, oldText := c.value(before, d.Name, d.Old, d.IsNew)
			value, text := c.value(now, d.Name, d.New, d.IsGone)
			cause.Old, cause.New = old, value
			cause.Text = fmt.Sprintf("%s: %s → %s", d.Name, oldText, text)
			cause.Diff = listDiff(d.Old, d.New)
		default:
			cause.What, cause.Text = Declared, declaredText(d)
		}
		causes = append(causes, cause)
	}
	return causes
}

// value returns a parameter for JSON and for people; for an absent one its default.
func (e *Explainer) value(description cache.Value, name string, v cache.Value, absent bool) (any, string) {
	if !absent {
		return plain(v), runner.ShowValue(v, false)
	}
	m, _ := description.(map[string]cache.Value)
	kind, _ := m["kind"].(string)
	if e.Kinds != nil && e.Kinds.Lookup(kind) != nil {
		if text, ok := e.Kinds.Lookup(kind).Default(name); ok {
			return text, text + " (the default)"
		}
	}
	return nil, "nothing"
}

func declaredText(d runner.Change) string {
	name := strings.TrimSpace(strings.TrimSuffix(string(d.Part), "s") + " " + d.Name)
	switch {
	case d.IsNew:
		return name + " is new"
	case d.IsGone:
		return name + " is no longer declared"
	}
	_, isText := d.New.(string)
	if _, wasText := d.Old.(string); isText && wasText {
		return fmt.Sprintf("%s: %s → %s", name, runner.ShowValue(d.Old, false), runner.ShowValue(d.New, false))
	}
	return name + " has changed"
}

// inputCauses are those that come in by a port.
func (c *comparison) inputCauses(port string, old, new *instance) []Cause {
	a, had := old.inputs[port]
	b, has := new.inputs[port]
	switch {
	case !has:
		return []Cause{{What: Ports, Port: port, Text: fmt.Sprintf("input %s is no longer connected", port)}}
	case !had:
		return []Cause{{What: Ports, Port: port, Place: b.At, Text: fmt.Sprintf("input %s is new", port)}}
	case a.Content != nil && b.Content != nil && a.Content.Digest == b.Content.Digest && a.Reference == b.Reference:
		return nil
	}
	sameContent := a.Content != nil && b.Content != nil && a.Content.Digest == b.Content.Digest
	if a.From != b.From || a.Source != b.Source {
		cause := Cause{What: Connection, Port: port, Place: b.At, Old: a.From + a.Source, New: b.From + b.Source,
			Text: fmt.Sprintf("%s reads %s, and read %s", port, b.From+b.Source, a.From+a.Source)}
		if a.From+b.From == "" && !sameContent {
			cause.Text += ": they differ"
			cause.Diff = maskDiff(c.contentDiff(a, b), c.mask)
		}
		return []Cause{cause}
	}
	if b.From != "" {
		return []Cause{c.upstreamCause(port, b)}
	}
	if sameContent {
		return nil // only the reference
	}
	return []Cause{{What: SourceData, Port: port, Source: b.Source, Place: b.At,
		Text: fmt.Sprintf("%s changed (input %s)", b.Source, port), Diff: maskDiff(c.contentDiff(a, b), c.mask)}}
}

// upstreamCause is the cause that another stage made, or may make, other bytes.
func (c *comparison) upstreamCause(port string, b runner.InputUse) Cause {
	stage, output, _ := stagename.SplitOutput(b.From)
	if members := c.members(stage); members != nil {
		return c.gatheredCause(port, stage, output, members)
	}
	verb := "made"
	if b.Content == nil {
		verb = "may make"
	}
	cause := Cause{What: Upstream, Port: port, Stage: stage, Text: fmt.Sprintf("%s %s other bytes at %s", stage, verb, output)}
	old, new := c.old.stages[stage], c.new.stages[stage]
	if old == nil || new == nil {
		return cause
	}
	if c.told[stage] {
		cause.Text += ", as said above"
		return cause
	}
	c.told[stage] = true
	if old.key == new.key && new.key != "" && b.Content != nil {
		cause.Text += " of the same inputs and parameters: " + orElse(new.why, "it is no pure function")
		return cause
	}
	cause.Causes = c.causes(stage)
	return cause
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// plain is a Value as JSON has it: digests as text.
func plain(v cache.Value) any {
	switch x := v.(type) {
	case cache.Digest:
		return x.String()
	case []cache.Value:
		list := make([]any, len(x))
		for i, item := range x {
			list[i] = plain(item)
		}
		return list
	case map[string]cache.Value:
		m := make(map[string]any, len(x))
		for name, item := range x {
			m[name] = plain(item)
		}
		return m
	}
	return v
}

func sortedKeys[V any](maps ...map[string]V) []string {
	var all []string
	for _, m := range maps {
		for k := range m {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// listDiff compares two lists of parameters, item by item.
func listDiff(old, new cache.Value) *Diff {
	a, ok1 := old.([]cache.Value)
	b, ok2 := new.([]cache.Value)
	if !ok1 || !ok2 || reflect.DeepEqual(a, b) {
		return nil
	}
	return diffLines(showAll(a), showAll(b), "item")
}

func showAll(list []cache.Value) []string {
	texts := make([]string, len(list))
	for i, v := range list {
		if s, ok := v.(string); ok {
			texts[i] = s
		} else {
			texts[i] = runner.ShowValue(v, false)
		}
	}
	return texts
}
