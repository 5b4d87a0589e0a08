package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/stagename"
	"pipe/pipeline/runner"
)

// Lineage is the chain of records up to the sources that made a result.
type Lineage struct {
	Digest string        `json:"digest"`
	Output string        `json:"output"` // "stage.port"
	Made   []Action      `json:"made"`   // the result's first, every action before those that it reads from
	From   []SourceInput `json:"from"`
}

// Action is a record, with the name of its stage in the run that made it.
type Action struct {
	Stage     string            `json:"stage"` // its kind, where no history tells the name
	Kind      string            `json:"kind"`
	Version   string            `json:"version"`
	Key       string            `json:"key"`
	Time      time.Time         `json:"time"`
	Seconds   float64           `json:"seconds"`
	Pipe      string            `json:"pipe,omitempty"`
	Tier      string            `json:"tier,omitempty"`
	StoppedBy string            `json:"stopped_by,omitempty"`
	Params    map[string]any    `json:"params,omitempty"` // that are not at their default, nested ones joined by dots
	Inputs    map[string]string `json:"inputs"`           // port to "stage.port", or to a source
	Run       string            `json:"run,omitempty"`
}

// SourceInput is what no stage made.
type SourceInput struct {
	Source  string       `json:"source"` // path or reference, as the pipeline had it; "" where that is not known
	Content cache.Object `json:"content"`
	Records int          `json:"records,omitempty"` // of JSON Lines that the store or the workspace still has
	Files   int          `json:"files,omitempty"`   // of a folder
	Ports   []string     `json:"ports"`             // "stage.port" that read it
}

// tracer follows records to their sources.
type tracer struct {
	*Explainer
	ran     map[string]*snapshot     // by key: the run that made its record
	makers  map[cache.Digest][]maker // by output, for what no history tells of
	done    map[string]string        // by key: the stage's name
	secrets []string                 // names, as the records declare them
	lineage *Lineage
	sources map[string]int // by digest and source, an index of lineage.From
}

type maker struct {
	record *cache.Record
	port   string
}

// Trace returns the lineage of an output by its digest. key names the record that it
// is an output of; "" has it found. It is an error if no record of the store made it.
func (e *Explainer) Trace(d cache.Digest, key string) (*Lineage, error) {
	t := &tracer{Explainer: e, ran: map[string]*snapshot{}, done: map[string]string{}, sources: map[string]int{},
		lineage: &Lineage{Digest: d.String(), Made: []Action{}, From: []SourceInput{}}}
	if err := t.readHistories(); err != nil {
		return nil, err
	}
	record, port := t.made(d, key)
	if record == nil {
		return nil, fmt.Errorf("no record of the store %s made %s: it was changed, made elsewhere, or its record is gone", e.Store.Dir(), d.Short())
	}
	t.lineage.Output = t.follow(record) + "." + port
	mask := e.maskOf(t.secrets)
	for _, a := range t.lineage.Made {
		for name, v := range a.Params {
			a.Params[name] = maskPlain(v, mask)
		}
	}
	slices.Reverse(t.lineage.Made) // a stage was added behind what it reads from
	return t.lineage, nil
}

// readHistories finds the run that made each record, the newest if it was made again.
func (t *tracer) readHistories() error {
	return runner.EachPast(t.Store, func(p *runner.Past) bool {
		var s *snapshot
		for _, e := range p.Events {
			if e.Type != "stage_end" || e.Outcome != runner.Ran || t.ran[e.Key] != nil {
				continue
			}
			if s == nil {
				s = past(t.Store, p)
			}
			t.ran[e.Key] = s
		}
		return true
	})
}

// made finds the record and port that an object is an output of.
func (t *tracer) made(d cache.Digest, key string) (*cache.Record, string) {
	if r := t.record(key); r != nil {
		for port, o := range r.Outputs {
			if o.Digest == d {
				return r, port
			}
		}
	}
	if t.makers == nil {
		t.makers = map[cache.Digest][]maker{}
		_ = t.Store.EachRecord(func(r *cache.Record) bool { // what cannot be read made nothing
			for port, o := range r.Outputs {
				t.makers[o.Digest] = append(t.makers[o.Digest], maker{r, port})
			}
			return true
		})
	}
	var newest maker
	for _, m := range t.makers[d] {
		if newest.record == nil || m.record.Made.Time.After(newest.record.Made.Time) {
			newest = m
		}
	}
	return newest.record, newest.port
}

func (t *tracer) record(key string) *cache.Record {
	var k cache.Key
	if k.UnmarshalText([]byte(key)) != nil {
		return nil
	}
	r, err := t.Store.ReadRecord(k)
	if err != nil {
		return nil
	}
	return r
}

// follow adds a record behind those that it reads from, and returns its stage's name.
func (t *tracer) follow(r *cache.Record) string {
	key := r.Key.String()
	if name, ok := t.done[key]; ok {
		return name
	}
	run := t.ran[key]
	a := Action{Stage: r.Kind, Kind: r.Kind, Version: r.Version, Key: key, Time: r.Made.Time, Seconds: r.Made.Seconds,
		Pipe: r.Made.Pipe, Tier: r.Made.Tier, StoppedBy: r.Made.StoppedBy, Inputs: map[string]string{}}
	var here *instance
	if run != nil {
		a.Run = run.run.ID
		for _, name := range sortedKeys(run.stages) {
			if run.stages[name].key == key {
				a.Stage, here = name, run.stages[name]
			}
		}
	}
	t.done[key] = a.Stage
	preimage, err := runner.PreimageOf(t.Store, key)
	if err == nil {
		a.Params = params(preimage)
		t.secrets = append(t.secrets, runner.SecretNames(descriptionOf(preimage))...)
	}
	inputs := inputsOf(preimage, here)
	for _, port := range sortedKeys(inputs) {
		a.Inputs[port] = t.input(a.Stage+"."+port, inputs[port], run)
	}
	t.lineage.Made = append(t.lineage.Made, a)
	return a.Stage
}

// input follows what a port read: to the record that made it, or to a source.
func (t *tracer) input(port string, in runner.InputUse, run *snapshot) string {
	if in.Content == nil {
		return in.From + in.Source
	}
	stage, output, ok := stagename.SplitOutput(in.From)
	if ok && run.stages[stage] != nil {
		if r := t.record(run.stages[stage].key); r != nil {
			return t.follow(r) + "." + output
		}
	}
	if members := membersOf(run, stage); members != nil {
		for _, name := range members {
			if r := t.record(run.stages[name].key); r != nil {
				t.follow(r)
			}
		}
		return in.From
	}
	if in.Source == "" {
		if r, output := t.made(in.Content.Digest, ""); r != nil {
			return t.follow(r) + "." + output
		}
	}
	source := in.Source
	if source == "" {
		source = in.Reference + in.From
	}
	id := in.Content.Digest.String() + source
	i, known := t.sources[id]
	if !known {
		i = len(t.lineage.From)
		t.sources[id] = i
		t.lineage.From = append(t.lineage.From, t.source(in, source))
	}
	t.lineage.From[i].Ports = append(t.lineage.From[i].Ports, port)
	if source == "" {
		return in.Content.Digest.Short()
	}
	return source
}

func (t *tracer) source(in runner.InputUse, source string) SourceInput {
	s := SourceInput{Source: source, Content: *in.Content, Ports: []string{}}
	if in.Content.Kind == cache.Tree {
		if entries, ok := t.entries(in); ok {
			s.Files = len(entries)
		}
	} else if b, ok := t.read(in, in.Content.Digest, ""); ok {
		s.Records, _ = CountRecords(b)
	}
	return s
}

// inputsOf are a record's inputs: as the run tells them, else as the pre-image does.
func inputsOf(preimage cache.Value, here *instance) map[string]runner.InputUse {
	if here != nil && here.inputs != nil {
		return here.inputs
	}
	inputs := map[string]runner.InputUse{}
	m, _ := preimage.(map[string]cache.Value)
	ports, _ := m["inputs"].(map[string]cache.Value)
	for port, v := range ports {
		in, _ := v.(map[string]cache.Value)
		kind, _ := in["kind"].(string)
		digest, _ := in["digest"].(cache.Digest)
		reference, _ := in["reference"].(string)
		inputs[port] = runner.InputUse{Reference: reference, Content: &cache.Object{Kind: cache.ObjectKind(kind), Digest: digest}}
	}
	return inputs
}

func params(preimage cache.Value) map[string]any {
	d, _ := descriptionOf(preimage).(map[string]cache.Value)
	flat := map[string]any{}
	flatten(flat, "", plain(d["params"]))
	return flat
}

// flatten names the entries of nested maps with dots.
func flatten(flat map[string]any, name string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		flat[name] = v
		return
	}
	for inner, value := range m {
		flatten(flat, strings.TrimPrefix(name+"."+inner, "."), value)
	}
}
