package stages

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"pipe/internal/document"
)

// Key returns what of the parameters belongs to the cache key: nested maps of
// bool, int64, float64, string, time.Duration, []any and nil. What is at its
// default is left out, so that a new parameter changes nobody's keys.
func (p Params) Key() map[string]any { return p.key("-") }

// StateKey is Key without the parameters that only say when to stop.
func (p Params) StateKey() map[string]any { return p.key("-", "stop") }

func (p Params) key(without ...string) map[string]any {
	return keyOf(reflect.ValueOf(p.value).Elem(), p.kind.defaults(), without)
}

// keyOf leaves out the fields whose key tag is one of without.
func keyOf(v, defaults reflect.Value, without []string) map[string]any {
	m := map[string]any{}
	for _, f := range document.Describe(v.Type()) {
		if slices.Contains(without, f.Tag.Get("key")) {
			continue
		}
		value, standard := v.Field(f.Index), defaults.Field(f.Index)
		if f.Type.Kind() == reflect.Struct {
			if inner := keyOf(value, standard, without); len(inner) > 0 {
				m[f.Name] = inner
			}
			continue
		}
		if reflect.DeepEqual(value.Interface(), standard.Interface()) || f.Type.Kind() == reflect.Map && value.Len() == 0 {
			continue
		}
		m[f.Name] = keyValue(value, without)
	}
	return m
}

func keyValue(v reflect.Value, without []string) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x
	case *document.Node:
		return nodeValue(x)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return keyValue(v.Elem(), without)
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int64:
		return v.Int()
	case reflect.Float64:
		return v.Float()
	case reflect.String:
		return v.String()
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = keyValue(v.Index(i), without)
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for iter := v.MapRange(); iter.Next(); {
			m[iter.Key().String()] = keyValue(iter.Value(), without)
		}
		return m
	case reflect.Struct:
		return keyOf(v, reflect.Zero(v.Type()), without)
	}
	panic(fmt.Sprintf("internal error: stages: a parameter of type %s cannot be keyed", v.Type()))
}

// nodeValue is a free-form parameter: scalars count as they are written, so that
// 1 and 1.0 differ.
func nodeValue(n *document.Node) any {
	switch {
	case n == nil || n.Kind == document.Null:
		return nil
	case n.Kind == document.List:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = nodeValue(item)
		}
		return list
	case n.Kind == document.Map:
		m := map[string]any{}
		for _, e := range n.Entries {
			m[e.Key] = nodeValue(e.Value)
		}
		return m
	}
	return n.Text
}
