package stages

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"pipe/internal/document"
)

// reference stands for a value that is known only once the file is resolved:
// "${params.x}", or a text with one in it.
var reference = schema{"type": "string", "pattern": `\$\{`}

// absent is a reference, or nothing at all, which stands for the default.
var absent = schema{"type": []string{"string", "null"}, "pattern": `\$\{`}

// structSchema is a map of parameters. It demands none.
func structSchema(t reflect.Type) schema {
	properties := schema{}
	for _, f := range document.Describe(t) {
		properties[f.Name] = paramSchema(f)
	}
	return schema{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// paramSchema is one parameter, with its documentation. Where a reference is read, one
// may stand for it.
func paramSchema(f document.Field) schema {
	s := typeSchema(f.Type, f)
	switch {
	case len(s) == 0: // anything
	case isText(s):
		s["type"] = []string{"string", "null"}
	default:
		s = schema{"anyOf": []any{s, absent}}
	}
	s["description"] = describe(f)
	if f.HasValue {
		if n, err := document.Parse("default", []byte("v: "+f.Default)); err == nil {
			s["default"] = plain(n.Get("v"), f.Type)
		}
	}
	return s
}

// describe is a parameter's documentation on one line: what it is, of what type, with
// which bounds and default.
func describe(f document.Field) string {
	text := []string{paramHelp(f)}
	if len(f.Enum) == 0 && f.Type.Kind() != reflect.Struct {
		text = append(text, typeText(f))
	}
	switch value := defaultText(f); value {
	case "":
	case "required":
		text = append(text, value)
	default:
		text = append(text, "default: "+value)
	}
	return sentences(text)
}

// sentences writes each part as a sentence.
func sentences(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ToUpper(p[:1]) + strings.TrimRight(p[1:], ".") + ".")
	}
	return b.String()
}

// isText says whether a schema takes any text, references among them.
func isText(s schema) bool { return s["type"] == "string" && s["enum"] == nil }

// orReference allows a reference in the place of an item.
func orReference(s schema) schema {
	if len(s) == 0 || isText(s) {
		return s
	}
	return schema{"anyOf": []any{s, reference}}
}

func plain(n *document.Node, t reflect.Type) any {
	switch {
	case t.Kind() == reflect.String:
		return n.Text
	case n.Kind == document.Bool:
		return n.Bool
	case n.Kind == document.Int, n.Kind == document.Float:
		return json.Number(n.Text)
	case n.Kind == document.List:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = plain(item, reflect.TypeFor[any]())
		}
		return list
	}
	return n.Text
}

// typeSchema is the schema of a type. The field's bounds hold for numbers, in a list
// for its items.
func typeSchema(t reflect.Type, f document.Field) schema {
	switch name := document.TypeName(t); {
	case name == "duration":
		return schema{"type": []string{"string", "integer"}, "minimum": 0, "maximum": 0, "pattern": `^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(h|m|s|ms|us|µs|μs|ns)(([0-9]+\.?[0-9]*|\.[0-9]+)(h|m|s|ms|us|µs|μs|ns))*$|^[+]?0$`}
	case name == "any":
		return schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), f)
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return bounded(schema{"type": "integer"}, f)
	case reflect.Float64:
		return bounded(schema{"type": "number"}, f)
	case reflect.String:
		if len(f.Enum) == 0 {
			return schema{"type": "string"}
		}
		enum := make([]any, len(f.Enum))
		for i, value := range f.Enum {
			enum[i] = value
		}
		return schema{"type": "string", "enum": enum}
	case reflect.Slice:
		return schema{"type": "array", "items": orReference(typeSchema(t.Elem(), f))}
	case reflect.Array:
		return schema{"type": "array", "items": orReference(typeSchema(t.Elem(), f)), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": orReference(typeSchema(t.Elem(), f))}
	}
	return structSchema(t)
}

func bounded(s schema, f document.Field) schema {
	for name, text := range map[string]string{"minimum": f.Min, "maximum": f.Max, "exclusiveMinimum": f.Above} {
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			s[name] = v
		}
	}
	return s
}
