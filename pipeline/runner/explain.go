package runner

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/redact"
	"pipe/pipeline"
)

// explain says why a step has no record: what moved since the newest result of the
// stage in this pipeline and profile.
func (r *Runner) explain(s *pipeline.Step, inputs []boundInput, preimage []byte) string {
	r.lastOnce.Do(func() { r.last = lastResults(r.Store, r.Plan.Name, r.Plan.Profile, r.id, r.Plan.Names()) })
	last, ok := r.last[s.Name]
	if !ok {
		return "first run"
	}
	before, err := PreimageOf(r.Store, last.Key)
	if err != nil {
		return "the last result is no longer known"
	}
	now, err := cache.ParseValue(preimage)
	if err != nil {
		return ""
	}
	var reasons []string
	for _, c := range DiffPreimages(before, now) {
		reasons = append(reasons, c.Masked(r.mask()).reason(inputs))
	}
	if len(reasons) == 0 {
		return "the last result is no longer in the store"
	}
	return strings.Join(reasons, "; ")
}

// PreimageOf reads the pre-image that the record of a key keeps: a map with the
// entries description and inputs (docs/cache-format.md).
func PreimageOf(store *cache.Store, key string) (cache.Value, error) {
	var k cache.Key
	if err := k.UnmarshalText([]byte(key)); err != nil {
		return nil, err
	}
	record, err := store.ReadRecord(k)
	if err != nil {
		return nil, err
	}
	if record.Preimage == nil {
		return nil, fmt.Errorf("record %s has no pre-image", k.Short())
	}
	return ReadPreimage(store, *record.Preimage)
}

// ReadPreimage reads a stored pre-image.
func ReadPreimage(store *cache.Store, d cache.Digest) (cache.Value, error) {
	b, err := store.ReadCompressed(d)
	if err != nil {
		return nil, err
	}
	return cache.ParseValue(b)
}

// Part is a part of a pre-image. What a description holds beside the parts that are
// named here, such as tools or variables that a stage declares, is a Part by its own
// name, with an entry a Change.
type Part string

const (
	KindPart    Part = "kind"
	VersionPart Part = "version"
	ParamPart   Part = "params"
	InputPart   Part = "inputs"
	OutputsPart Part = "outputs"
	EnvPart     Part = "env"
	ToolsPart   Part = "tools"
	SecretsPart Part = "secrets"
)

// Change is one thing in which two pre-images differ.
type Change struct {
	Part     Part
	Name     string      // a parameter, nested ones joined by dots; a port
	Old, New cache.Value // nil also where it is absent
	IsNew    bool        // absent before: a parameter was at its default
	IsGone   bool        // absent now
}

// DiffPreimages lists what differs between two pre-images: kind, version, parameters,
// inputs, outputs, and the rest.
func DiffPreimages(before, now cache.Value) []Change {
	old, new := entry(before, "description"), entry(now, "description")
	var changes []Change
	for _, part := range []Part{KindPart, VersionPart} {
		changes = append(changes, diffValue(part, "", old, new, string(part))...)
	}
	changes = append(changes, diffMaps(ParamPart, "", entry(old, "params"), entry(new, "params"))...)
	oldIn, newIn := entry(before, "inputs"), entry(now, "inputs")
	for _, port := range names(oldIn, newIn) {
		a, had := oldIn[port]
		b, has := newIn[port]
		if !reflect.DeepEqual(a, b) {
			changes = append(changes, Change{Part: InputPart, Name: port, Old: a, New: b, IsNew: !had, IsGone: !has})
		}
	}
	for _, part := range names(old, new) {
		switch Part(part) {
		case KindPart, VersionPart, ParamPart, InputPart:
		default:
			changes = append(changes, diffValue(Part(part), "", old, new, part)...)
		}
	}
	return hideSecretEnv(changes, slices.Concat(SecretNames(old), SecretNames(new)))
}

// SecretNames are the names of the secrets that a description declares.
func SecretNames(description cache.Value) []string {
	m, _ := description.(map[string]cache.Value)
	list, _ := m[string(SecretsPart)].([]cache.Value)
	var names []string
	for _, v := range list {
		if name, ok := v.(string); ok {
			names = append(names, name)
		}
	}
	return names
}

// hideSecretEnv hides the values of variables that one description has as env and the other
// as a secret: what was one before it was declared may have been replaced since, and no mask knows it.
func hideSecretEnv(changes []Change, secrets []string) []Change {
	for i := range changes {
		c := &changes[i]
		if c.Part != EnvPart || !slices.Contains(secrets, c.Name) {
			continue
		}
		for _, v := range []*cache.Value{&c.Old, &c.New} {
			if *v != nil {
				*v = redact.Hidden
			}
		}
	}
	return changes
}

func entry(v cache.Value, name string) map[string]cache.Value {
	m, _ := v.(map[string]cache.Value)
	inner, _ := m[name].(map[string]cache.Value)
	return inner
}

func names(a, b map[string]cache.Value) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]cache.Value{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func diffMaps(part Part, prefix string, old, new map[string]cache.Value) []Change {
	var changes []Change
	for _, n := range names(old, new) {
		changes = append(changes, diffValue(part, prefix, old, new, n)...)
	}
	return changes
}

// diffValue compares one entry of two maps; maps in it are compared entry by entry,
// an absent one as an empty one.
func diffValue(part Part, prefix string, old, new map[string]cache.Value, name string) []Change {
	a, had := old[name]
	b, has := new[name]
	if reflect.DeepEqual(a, b) && had == has {
		return nil
	}
	inner, isMap := a.(map[string]cache.Value)
	inner2, isMap2 := b.(map[string]cache.Value)
	if (isMap || !had) && (isMap2 || !has) {
		if part != ParamPart && prefix == "" { // description.tools.sort is the change "sort" of the part tools
			return diffMaps(part, "", inner, inner2)
		}
		return diffMaps(part, prefix+name+".", inner, inner2)
	}
	return []Change{{Part: part, Name: strings.TrimSuffix(prefix+name, "."), Old: a, New: b, IsNew: !had, IsGone: !has}}
}

// Masked is the change with secrets hidden in its values. It comes before the values are shortened: the
// beginning of a secret is not found any more.
func (c Change) Masked(m *redact.Mask) Change {
	c.Old, c.New = maskValue(c.Old, m), maskValue(c.New, m)
	return c
}

func maskValue(v cache.Value, m *redact.Mask) cache.Value {
	switch x := v.(type) {
	case string:
		return m.Text(x)
	case int64, float64:
		if text := fmt.Sprint(x); m.Text(text) != text {
			return m.Text(text)
		}
	case []cache.Value:
		list := make([]cache.Value, len(x))
		for i := range x {
			list[i] = maskValue(x[i], m)
		}
		return list
	case map[string]cache.Value:
		entries := make(map[string]cache.Value, len(x))
		for name, inner := range x {
			entries[name] = maskValue(inner, m)
		}
		return entries
	}
	return v
}

// reason is a change in the one line that a run shows.
func (c Change) reason(inputs []boundInput) string {
	switch c.Part {
	case KindPart, VersionPart:
		return fmt.Sprintf("%s %v → %v", c.Part, c.Old, c.New)
	case OutputsPart:
		return "the outputs have other names"
	case InputPart:
		for _, in := range inputs {
			if in.input.Port.Name == c.Name && !c.IsNew {
				return inputReason(in)
			}
		}
		if c.IsGone {
			return fmt.Sprintf("input %s is gone", c.Name)
		}
		return fmt.Sprintf("input %s is new", c.Name)
	case ParamPart:
		return fmt.Sprintf("%s: %s → %s", c.Name, ShowValue(c.Old, c.IsNew), ShowValue(c.New, c.IsGone))
	}
	return c.worldReason()
}

// worldReason is reason for what a stage declares of the world outside.
func (c Change) worldReason() string {
	switch {
	case c.Part == EnvPart:
		return fmt.Sprintf("env %s: %s → %s", c.Name, showVariable(c.Old, c.IsNew), showVariable(c.New, c.IsGone))
	case c.Part == SecretsPart:
		return "the secrets have other names"
	case c.Part != ToolsPart:
		return fmt.Sprintf("%s %s changed", c.Part, c.Name)
	case c.IsNew:
		return fmt.Sprintf("tool %s is new", c.Name)
	case c.IsGone:
		return fmt.Sprintf("tool %s is gone", c.Name)
	}
	return fmt.Sprintf("tool %s has other bytes", c.Name)
}

func showVariable(v cache.Value, absent bool) string {
	switch {
	case absent:
		return "not declared"
	case v == nil:
		return "not set"
	}
	return ShowValue(v, false)
}

func inputReason(in boundInput) string {
	if !in.input.IsSource() {
		return in.input.Output() + " has other bytes"
	}
	return fmt.Sprintf("%s changed (%s)", in.input.Source, in.input.Port.Name)
}

// ShowValue is a parameter in a few words. absent says that it was left out of the key.
func ShowValue(v cache.Value, absent bool) string {
	if absent {
		return "default"
	}
	switch x := v.(type) {
	case nil:
		return "nothing"
	case string:
		const most = 40
		if runes := []rune(x); len(runes) > most {
			x = string(runes[:most]) + "…"
		}
		return fmt.Sprintf("%q", x)
	case []cache.Value:
		return fmt.Sprintf("a list of %d", len(x))
	case map[string]cache.Value:
		return fmt.Sprintf("a map of %d", len(x))
	case int64:
		// Of whole numbers only durations are that large and that round.
		if x >= int64(100*time.Millisecond) && x%int64(time.Millisecond) == 0 {
			return time.Duration(x).String()
		}
	}
	return fmt.Sprint(v)
}
