package explain

import (
	"fmt"
	"os"

	"pipe/internal/redact"
	"pipe/pipeline/runner"
)

// A record holds no value of what was a secret when it was made; but what is one now may
// have been a parameter or a variable then. So old values are looked at with the
// secrets of everything that is compared.

// hide returns the mask of the secrets that a stage of any of the snapshots declares, and
// hides them in what the runs said. A nil snapshot has none.
func (e *Explainer) hide(snapshots ...*snapshot) *redact.Mask {
	var names []string
	var all []*instance
	for _, s := range snapshots {
		if s == nil {
			continue
		}
		for _, i := range s.stages {
			all = append(all, i)
			if d, err := i.description(); err == nil { // else there is no old value to show
				names = append(names, runner.SecretNames(d)...)
			}
		}
	}
	mask := e.maskOf(names)
	for _, i := range all {
		i.why = mask.Text(i.why)
	}
	return mask
}

func (e *Explainer) maskOf(names []string) *redact.Mask {
	lookup := e.LookupEnv
	if lookup == nil {
		lookup = os.LookupEnv
	}
	var values []string
	for _, name := range append(names, e.Secrets...) {
		if value, set := lookup(name); set {
			values = append(values, value)
		}
	}
	return redact.New(values)
}

// maskPlain hides secrets in a value as plain returns it. A number that is one becomes a text.
func maskPlain(v any, m *redact.Mask) any {
	switch x := v.(type) {
	case nil, bool:
		return v
	case []any:
		list := make([]any, len(x))
		for i := range x {
			list[i] = maskPlain(x[i], m)
		}
		return list
	}
	if text := fmt.Sprint(v); m.Text(text) != text {
		return m.Text(text)
	}
	return v
}

// maskDiff hides secrets in what elements say, in place.
func maskDiff(d *Diff, m *redact.Mask) *Diff {
	if d == nil || m == nil {
		return d
	}
	element := func(e *Element) { e.ID, e.Path, e.Text = m.Text(e.ID), m.Text(e.Path), m.Text(e.Text) }
	for i := range d.Changed {
		c := &d.Changed[i]
		element(&c.Old)
		element(&c.New)
		for j := range c.Fields {
			f := &c.Fields[j]
			f.Name, f.Old, f.New = m.Text(f.Name), m.Text(f.Old), m.Text(f.New)
		}
		maskDiff(c.Diff, m)
	}
	for _, list := range [][]Element{d.Added, d.Removed} {
		for i := range list {
			element(&list[i])
		}
	}
	return d
}
