package stages

import (
	"fmt"
	"slices"
	"strings"
)

// Registry is a set of kinds.
type Registry struct{ kinds map[string]*Kind }

// NewRegistry returns a registry of the kinds. It panics on a name given twice.
func NewRegistry(kinds ...*Kind) *Registry {
	r := &Registry{kinds: map[string]*Kind{}}
	for _, k := range kinds {
		if r.kinds[k.Name] != nil {
			panic(fmt.Sprintf("internal error: two stage kinds are named %q", k.Name))
		}
		r.kinds[k.Name] = k
	}
	return r
}

// Lookup returns the kind of that name, or nil.
func (r *Registry) Lookup(name string) *Kind { return r.kinds[name] }

// All returns the kinds sorted by name.
func (r *Registry) All() []*Kind {
	all := make([]*Kind, 0, len(r.kinds))
	for _, k := range r.kinds {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *Kind) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Names returns the kinds' names, sorted.
func (r *Registry) Names() []string {
	var names []string
	for _, k := range r.All() {
		names = append(names, k.Name)
	}
	return names
}
