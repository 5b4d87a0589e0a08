package stages

import (
	"encoding/json"
	"maps"
	"slices"
)

// schema is a JSON Schema, draft 2020-12, or a part of one.
type schema map[string]any

// JSONSchema returns the schema of pipeline files that use the kinds, for editors:
// the YAML language server reads it for completion, hovering help and errors.
//
// It holds what the strict decoder holds, as far as one place of a file shows it, and
// raises no alarm at a file that the decoder takes. $defs has two schemas a kind:
// KIND-part knows its ports and parameters and demands none, which is what a profile
// writes of a stage; KIND demands what a whole stage needs besides.
func (r *Registry) JSONSchema() ([]byte, error) {
	defs := schema{"uses": r.usesSchema(), "publication": publicationSchema(), "resources": resourcesSchema(), "matrix": matrixSchema(),
		"stage": r.namedKind("", true), "stage-part": r.namedKind("-part", false)}
	byName, byNamePart := schema{}, schema{}
	for _, k := range r.All() {
		defs[k.Name+"-part"], defs[k.Name] = k.partSchema(), k.stageSchema()
		byName[k.Name] = schema{"description": k.Summary, "if": namesAnother(k.Name), "then": refTo("stage"), "else": refTo(k.Name)}
		byNamePart[k.Name] = schema{"description": k.Summary, "if": namesAnother(k.Name), "then": refTo("stage-part"), "else": refTo(k.Name + "-part")}
	}
	params := schema{"type": []string{"object", "null"}, "description": "Values of any form for ${params.NAME}.", "propertyNames": schema{"pattern": `^[A-Za-z_][A-Za-z0-9_-]*$`}}
	top := schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"description": "A declarative pipeline: stages, their inputs and parameters. See docs/pipeline-format.md.",
		"type":        "object",
		"required":    []string{"pipeline", "stages"},
		"properties": schema{
			"pipeline": schema{"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "description": "The pipeline's name: ${pipeline}."},
			"params":   params,
			"profiles": schema{"type": []string{"object", "null"}, "description": "Named changes to params and stages, chosen by --profile.",
				"propertyNames": schema{"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "not": schema{"const": "default"}},
				"additionalProperties": schema{"type": []string{"object", "null"}, "additionalProperties": false,
					"properties": schema{"params": schema{"type": []string{"object", "null"}, "description": "Other values for params that there are."},
						"stages": schema{"type": []string{"object", "null"}, "description": "Changes to stages that there are."}}}},
			"resources": totalsSchema(),
			"stages": schema{"type": "object", "description": "Stages by name. A stage uses the kind of its own name unless uses: names another.", "minProperties": 1,
				"properties": byName, "additionalProperties": refTo("stage"),
				"propertyNames": schema{"pattern": "^[a-z][a-z0-9-]*$", "not": schema{"enum": []string{"params", "matrix"}}}},
			"on_failure": hookSchema("The program to tell of a run that failed (exit 1, 3, 5), and its arguments. It gets the summary as JSON on its standard input."),
			"on_success": hookSchema("The program to tell of a run that went well, and its arguments. It gets the summary as JSON on its standard input."),
		},
		"additionalProperties": false,
		"allOf":                r.profilesByName(byNamePart),
		"$defs":                defs,
	}
	b, err := json.MarshalIndent(top, "", "  ")
	return append(b, '\n'), err
}

// profilesByName checks what profiles change of the stages that are named as their
// kind is. A stage that has the name of one kind and uses another is left alone: a
// profile's entry need not say so, and a schema cannot look it up.
func (r *Registry) profilesByName(parts schema) []any {
	var all []any
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		another := schema{"properties": schema{"stages": schema{"required": []string{name}, "properties": schema{name: namesAnother(name)}}}, "required": []string{"stages"}}
		profile := schema{"properties": schema{"stages": schema{"properties": schema{name: parts[name]}}}}
		all = append(all, schema{"if": another, "else": schema{"properties": schema{"profiles": schema{"additionalProperties": profile}}}})
	}
	return all
}

// hookSchema is a program and its arguments.
func hookSchema(help string) schema {
	return schema{"type": "array", "items": schema{"type": "string"}, "minItems": 1, "description": help}
}

func refTo(def string) schema { return schema{"$ref": "#/$defs/" + def} }

// namesAnother matches a stage with a uses: that is not the kind.
func namesAnother(kind string) schema {
	return schema{"type": "object", "required": []string{"uses"}, "properties": schema{"uses": schema{"not": schema{"const": kind}}}}
}

func (r *Registry) usesSchema() schema {
	var names, summaries []string
	for _, k := range r.All() {
		names, summaries = append(names, k.Name), append(summaries, k.Summary)
	}
	return schema{"description": "The stage kind. Without it the stage's name is the kind's.",
		"anyOf": []any{schema{"type": "string", "enum": names, "enumDescriptions": summaries, "markdownEnumDescriptions": summaries}, reference}}
}

// namedKind is a stage whose kind its uses: names: of the schema KIND and suffix. A
// uses: that is a reference may be any kind.
func (r *Registry) namedKind(suffix string, whole bool) schema {
	var kinds []any
	for _, k := range r.All() {
		kinds = append(kinds, schema{"if": schema{"type": "object", "required": []string{"uses"}, "properties": schema{"uses": schema{"const": k.Name}}}, "then": refTo(k.Name + suffix)})
	}
	s := schema{"type": []string{"object", "null"}, "properties": schema{"uses": refTo("uses")}, "allOf": kinds}
	if whole {
		s["type"], s["required"] = "object", []string{"uses"}
	}
	return s
}

// partSchema is what a stage of the kind, or a profile's change to one, may say.
func (k *Kind) partSchema() schema {
	in, publish := schema{}, schema{}
	for _, p := range k.Inputs {
		in[p.Name] = inputSchema(p)
	}
	for _, o := range k.Outputs {
		publish[o.Name] = schema{"$ref": "#/$defs/publication", "description": sentences([]string{o.Help, "a " + o.Type()})}
	}
	ports := func(help string, known, other schema) schema {
		s := schema{"type": []string{"object", "null"}, "description": help, "additionalProperties": false, "properties": known}
		if k.Open {
			s = schema{"type": []string{"object", "null"}, "description": help, "additionalProperties": other, "propertyNames": schema{"pattern": portName.String()}}
		}
		return s
	}
	with := structSchema(k.params)
	with["description"] = "The stage's parameters."
	properties := schema{
		"uses":      refTo("uses"),
		"in":        ports("What the stage reads: port: \"${STAGE.OUTPUT}\", a path, or builtin:NAME.", in, schema{"type": "string"}),
		"with":      with,
		"publish":   ports("Outputs to put at a path of the workspace.", publish, refTo("publication")),
		"resources": refTo("resources"),
		"matrix":    refTo("matrix"),
	}
	maps.Copy(properties, attemptSchema())
	if k.Open {
		maps.Copy(properties, environmentSchema())
		properties["out"] = schema{"type": "array", "items": schema{"type": "string", "pattern": portName.String()}, "description": "Names of the outputs."}
	}
	return schema{"type": []string{"object", "null"}, "description": k.Summary, "properties": properties, "additionalProperties": false}
}

// stageSchema demands what a whole stage of the kind needs.
func (k *Kind) stageSchema() schema {
	required, properties := []string{}, schema{}
	demand := func(key string, names []string) {
		if len(names) > 0 {
			required = append(required, key)
			properties[key] = schema{"type": "object", "required": names}
		}
	}
	var ports, params []string
	for _, p := range k.Inputs {
		if !p.Optional {
			ports = append(ports, p.Name)
		}
	}
	for _, f := range k.Fields() {
		if f.Required {
			params = append(params, f.Name)
		}
	}
	demand("in", ports)
	demand("with", params)
	if k.Open {
		required = append(required, "out")
	}
	s := refTo(k.Name + "-part")
	if len(required) > 0 {
		s["type"], s["required"], s["properties"] = "object", required, properties
	}
	return s
}

func inputSchema(p InputPort) schema {
	help := []string{p.Help}
	if p.Type != "" {
		help = append(help, "a "+p.Type)
	}
	if p.Optional {
		help = append(help, "optional")
	}
	return schema{"type": "string", "minLength": 1, "description": sentences(help)}
}

// publicationSchema is where an output goes.
func publicationSchema() schema {
	to := schema{"type": "string", "minLength": 1, "description": "A path, relative to this file."}
	return schema{"anyOf": []any{to, schema{"type": "object", "additionalProperties": false, "required": []string{"to"}, "properties": schema{
		"to": to, "unless_worse": schema{"type": "string", "description": "An input of the stage: by its score.json the output must be at least as good as what is published. For folders."}}}}}
}
