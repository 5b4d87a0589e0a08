package stages

import (
	"reflect"
	"strings"

	"pipe/internal/document"
)

// Places says where each parameter that was given stands, as file:line:col or as the
// --set that it came from. Names of nested parameters are joined by dots.
func (p Params) Places() map[string]string {
	places := map[string]string{}
	if p.node != nil && p.node.Kind == document.Map {
		addPlaces(places, "", p.node)
	}
	return places
}

func addPlaces(places map[string]string, prefix string, n *document.Node) {
	for _, e := range n.Entries {
		if e.Value.Kind == document.Map {
			addPlaces(places, prefix+e.Key+".", e.Value)
			continue
		}
		places[prefix+e.Key] = e.Value.Place()
	}
}

// Default returns the default of a parameter as it would be written in YAML, and
// whether it has one. Names of nested parameters are joined by dots.
func (k *Kind) Default(param string) (string, bool) {
	t := k.params
	for {
		name, rest, nested := strings.Cut(param, ".")
		field, ok := fieldOf(t, name)
		switch {
		case !ok:
			return "", false
		case !nested:
			return field.Default, field.HasValue
		case field.Type.Kind() != reflect.Struct:
			return "", false
		}
		t, param = field.Type, rest
	}
}

func fieldOf(t reflect.Type, name string) (document.Field, bool) {
	for _, f := range document.Describe(t) {
		if f.Name == name {
			return f, true
		}
	}
	return document.Field{}, false
}
