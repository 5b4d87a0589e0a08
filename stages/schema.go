package stages

import (
	"encoding/json"
	"maps"
	"reflect"
	"strconv"

	"pipe/internal/document"
)

// schema is a JSON Schema, draft 2020-12, or a part of one.
type schema map[string]any

// JSONSchema returns the schema of pipeline files that use the kinds. The YAML
// language server reads it for completion and hovering help.
func (r *Registry) JSONSchema() ([]byte, error) {
	defs, byName, byUses := schema{}, schema{}, []any{}
	for _, k := range r.All() {
		defs[k.Name] = k.stageSchema()
		ref := schema{"$ref": "#/$defs/" + k.Name}
		if !k.Open {
			byName[k.Name] = schema{"if": usesOr(k.Name, true), "then": ref}
		}
		byUses = append(byUses, schema{"if": usesOr(k.Name, false), "then": ref})
	}
	stage := schema{"type": []string{"object", "null"}, "allOf": byUses}
	top := schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "pipe pipeline file",
		"description": "A declarative pipeline: stages, their inputs and parameters. See docs/pipeline-format.md.",
		"type":        "object",
		"required":    []string{"pipeline", "stages"},
		"properties": schema{
			"pipeline": schema{"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "description": "The pipeline's name."},
			"params":   schema{"type": "object", "description": "Values for ${params.NAME}."},
			"profiles": schema{"type": "object", "description": "Named changes to params and stages, chosen by --profile.",
				"additionalProperties": schema{"type": []string{"object", "null"}, "additionalProperties": false,
					"properties": schema{"params": schema{"type": "object"}, "stages": schema{"type": "object"}}}},
			"stages": schema{"type": "object", "description": "Stages by name. A stage uses the kind of its own name unless uses: names another.",
				"properties": byName, "additionalProperties": stage, "propertyNames": schema{"pattern": "^[a-z][a-z0-9-]*$"}},
			"on_failure": hookSchema("The program to tell of a run that failed (exit 1, 3, 5), and its arguments. It gets the summary as JSON on its standard input."),
			"on_success": hookSchema("The program to tell of a run that went well, and its arguments. It gets the summary as JSON on its standard input."),
		},
		"additionalProperties": false,
		"$defs":                defs,
	}
	b, err := json.MarshalIndent(top, "", "  ")
	return append(b, '\n'), err
}

// hookSchema is a program and its arguments.
func hookSchema(help string) schema {
	return schema{"type": "array", "items": schema{"type": "string"}, "minItems": 1, "description": help}
}

// usesOr matches stages that use a kind by name, or with unnamed those that name
// none.
func usesOr(kind string, unnamed bool) schema {
	uses := schema{"properties": schema{"uses": schema{"const": kind}}}
	if !unnamed {
		uses["required"] = []string{"uses"}
	}
	return uses
}

var reference = schema{"type": "string", "pattern": `^\$\{[^}]*\}$`}

func (k *Kind) stageSchema() schema {
	in, out := schema{}, schema{}
	for _, p := range k.Inputs {
		in[p.Name] = schema{"type": "string", "description": p.Help}
	}
	for _, p := range k.Outputs {
		out[p.Name] = k.targetSchema(p.Folder)
		out[p.Name].(schema)["description"] = p.Help
	}
	ports := func(known schema, any schema) schema {
		s := schema{"type": "object", "additionalProperties": false, "properties": known}
		if k.Open {
			s = schema{"type": "object", "additionalProperties": any}
		}
		return s
	}
	properties := schema{
		"uses":    schema{"type": "string", "description": "The stage kind."},
		"in":      ports(in, schema{"type": "string"}),
		"with":    structSchema(k.params),
		"publish": ports(out, k.targetSchema(true)),
		"resources": schema{"type": "object", "additionalProperties": false, "description": "What the stage takes of the machine while it runs.", "properties": schema{
			"cpu": schema{"type": "integer", "minimum": 1, "default": 1}, "gpu": schema{"type": "integer", "minimum": 0, "default": 0}, "memory": schema{"type": "string"}}},
	}
	maps.Copy(properties, attemptSchema())
	if k.Open {
		maps.Copy(properties, environmentSchema())
		properties["out"] = schema{"type": "array", "items": schema{"type": "string"}, "description": "Names of the outputs."}
	}
	return schema{"type": []string{"object", "null"}, "description": k.Summary, "properties": properties, "additionalProperties": false}
}

// targetSchema is where an output is published: a path, or a map with one. Only a
// folder can be held to what is published already.
func (k *Kind) targetSchema(folder bool) schema {
	keys := schema{"to": schema{"type": "string", "description": "A path, relative to this file."}}
	if folder {
		judge := schema{"type": "string", "description": "The input whose score.json says whether the output is at least as good as what is published."}
		if !k.Open {
			judge["enum"] = inputNames(k)
		}
		keys["unless_worse"] = judge
	}
	return schema{"anyOf": []any{schema{"type": "string"},
		schema{"type": "object", "properties": keys, "required": []string{"to"}, "additionalProperties": false}}}
}

func inputNames(k *Kind) []string {
	names := make([]string, len(k.Inputs))
	for i, p := range k.Inputs {
		names[i] = p.Name
	}
	return names
}

func structSchema(t reflect.Type) schema {
	properties, required := schema{}, []string{}
	for _, f := range document.Describe(t) {
		properties[f.Name] = orReference(fieldSchema(f), f)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// orReference allows "${params.x}" in the place of a value that is no string.
func orReference(s schema, f document.Field) schema {
	help := schema{}
	if f.Help != "" {
		help["description"] = f.Help
	}
	if f.HasValue {
		if n, err := document.Parse("default", []byte("v: "+f.Default)); err == nil {
			help["default"] = plain(n.Get("v"), f)
		}
	}
	if s["type"] == "string" && s["enum"] == nil || len(s) == 0 || s["type"] == "object" {
		for k, v := range help {
			s[k] = v
		}
		return s
	}
	help["anyOf"] = []any{s, reference}
	return help
}

func plain(n *document.Node, f document.Field) any {
	switch {
	case f.Type.Kind() == reflect.String:
		return f.Default
	case n.Kind == document.Bool:
		return n.Bool
	case n.Kind == document.Int, n.Kind == document.Float:
		return json.Number(n.Text)
	case n.Kind == document.List:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = plain(item, document.Field{Type: reflect.TypeFor[any]()})
		}
		return list
	}
	return n.Text
}

func fieldSchema(f document.Field) schema {
	s := typeSchema(f.Type)
	bound := func(name, text string) {
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			s[name] = v
		}
	}
	bound("minimum", f.Min)
	bound("maximum", f.Max)
	bound("exclusiveMinimum", f.Above)
	if len(f.Enum) > 0 {
		s["enum"] = f.Enum
	}
	return s
}

func typeSchema(t reflect.Type) schema {
	switch name := document.TypeName(t); {
	case name == "duration":
		return schema{"type": "string", "pattern": durationPattern}
	case name == "any":
		return schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem())
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Slice:
		return schema{"type": "array", "items": typeSchema(t.Elem())}
	case reflect.Array:
		return schema{"type": "array", "items": typeSchema(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": typeSchema(t.Elem())}
	}
	return structSchema(t)
}
