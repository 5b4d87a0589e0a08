package runner

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/pipeline"
)

// explain says why a step has no record: what moved since the newest result of the
// stage in this pipeline and profile.
func (r *Runner) explain(s *pipeline.Step, inputs []boundInput, preimage []byte) string {
	r.lastOnce.Do(func() { r.last = lastResults(r.Store, r.Plan.Name, r.Plan.Profile, r.id) })
	last, ok := r.last[s.Name]
	if !ok {
		return "first run"
	}
	before, err := r.lastPreimage(last.Key)
	if err != nil {
		return "the last result is no longer known"
	}
	now, err := cache.ParseValue(preimage)
	if err != nil {
		return ""
	}
	reasons := diffPreimages(before, now, s, inputs)
	if len(reasons) == 0 {
		return "the last result is no longer in the store"
	}
	return strings.Join(reasons, "; ")
}

func (r *Runner) lastPreimage(key string) (cache.Value, error) {
	var k cache.Key
	if err := k.UnmarshalText([]byte(key)); err != nil {
		return nil, err
	}
	record, err := r.Store.ReadRecord(k)
	if err != nil {
		return nil, err
	}
	if record.Preimage == nil {
		return nil, fmt.Errorf("record %s has no pre-image", k.Short())
	}
	b, err := r.Store.ReadCompressed(*record.Preimage)
	if err != nil {
		return nil, err
	}
	return cache.ParseValue(b)
}

func diffPreimages(before, now cache.Value, s *pipeline.Step, inputs []boundInput) []string {
	var reasons []string
	old, new := entry(before, "description"), entry(now, "description")
	for _, name := range []string{"kind", "version"} {
		if a, b := old[name], new[name]; !reflect.DeepEqual(a, b) {
			reasons = append(reasons, fmt.Sprintf("%s %v → %v", name, a, b))
		}
	}
	reasons = append(reasons, diffMaps("", entry(old, "params"), entry(new, "params"))...)
	oldIn, newIn := entry(before, "inputs"), entry(now, "inputs")
	for _, in := range inputs {
		port := in.input.Port.Name
		switch a, had := oldIn[port]; {
		case !had:
			reasons = append(reasons, fmt.Sprintf("input %s is new", port))
		case !reflect.DeepEqual(a, newIn[port]):
			reasons = append(reasons, inputReason(in))
		}
	}
	for _, port := range slices.Sorted(maps.Keys(oldIn)) {
		if _, has := newIn[port]; !has {
			reasons = append(reasons, fmt.Sprintf("input %s is gone", port))
		}
	}
	reasons = append(reasons, diffEnvironments(old, new)...)
	if !reflect.DeepEqual(old["outputs"], new["outputs"]) {
		reasons = append(reasons, "the outputs have other names")
	}
	return reasons
}

func inputReason(in boundInput) string {
	if in.input.From != nil {
		return fmt.Sprintf("%s.%s has other bytes", in.input.From.Name, in.input.FromPort)
	}
	return fmt.Sprintf("%s changed (%s)", in.input.Source, in.input.Port.Name)
}

func entry(v cache.Value, name string) map[string]cache.Value {
	m, _ := v.(map[string]cache.Value)
	inner, _ := m[name].(map[string]cache.Value)
	return inner
}

// diffMaps lists what differs between two nested maps of parameters.
func diffMaps(prefix string, old, new map[string]cache.Value) []string {
	names := map[string]bool{}
	for n := range old {
		names[n] = true
	}
	for n := range new {
		names[n] = true
	}
	var reasons []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		a, b := old[n], new[n]
		if reflect.DeepEqual(a, b) {
			continue
		}
		inner, isMap := a.(map[string]cache.Value)
		inner2, isMap2 := b.(map[string]cache.Value)
		if isMap && isMap2 {
			reasons = append(reasons, diffMaps(prefix+n+".", inner, inner2)...)
			continue
		}
		reasons = append(reasons, fmt.Sprintf("%s%s: %s → %s", prefix, n, showValue(a), showValue(b)))
	}
	return reasons
}

// showValue is a parameter in a reason. nil is one that was left out of the key.
func showValue(v cache.Value) string {
	switch x := v.(type) {
	case nil:
		return "default"
	case string:
		const most = 40
		if len(x) > most {
			x = x[:most] + "…"
		}
		return fmt.Sprintf("%q", x)
	case []cache.Value:
		return fmt.Sprintf("a list of %d", len(x))
	case map[string]cache.Value:
		return fmt.Sprintf("a map of %d", len(x))
	case int64:
		// Of whole numbers only durations are that large and that round.
		if x >= int64(time.Second) && x%int64(time.Millisecond) == 0 {
			return time.Duration(x).String()
		}
	}
	return fmt.Sprint(v)
}
