package stages

import "maps"

// attemptSchema describes the keys of a stage that say how it is tried.
func attemptSchema() schema {
	duration := withReference(schema{"type": "string", "pattern": durationPattern})
	count := withReference(schema{"type": "integer", "minimum": 0, "maximum": 100})
	return schema{
		"timeout": described(duration, "How long an attempt may take, as in 10m. Not in the key."),
		"retries": schema{"description": "How often a stage that fails is tried again: a number, or max and backoff. Not in the key.", "anyOf": []any{count,
			schema{"type": "object", "additionalProperties": false, "required": []string{"max"}, "properties": schema{
				"max": described(count, "Attempts after the first."),
				"backoff": schema{"anyOf": []any{duration, schema{"const": 0}}, "default": "5s",
					"description": "The pause before the second attempt. It doubles with each, up to 10m, less up to a half."}}}}},
	}
}

// environmentSchema describes the keys of a stage that say what its programs see of
// the world outside.
func environmentSchema() schema {
	names := func(pattern, help string) schema {
		return schema{"anyOf": []any{schema{"type": "array", "uniqueItems": true, "items": withReference(schema{"type": "string", "pattern": pattern})}, reference}, "description": help}
	}
	const variable = `^[A-Za-z_][A-Za-z0-9_]*\??$`
	return schema{
		"env":     names(variable, "Environment variables that the program sees; their values are part of the key. NAME? may be unset."),
		"secrets": names(variable, "Environment variables that the program sees, whose values are part of no key, log, record or message. NAME? may be unset."),
		"tools":   names(`^(/.*|[^/\\]+)$`, "Programs on PATH that the stage uses; the content of their files is part of the key."),
	}
}

// withReference allows a reference in the place of a value, also of a text that has
// a form.
func withReference(s schema) schema { return schema{"anyOf": []any{s, reference}} }

func described(s schema, help string) schema {
	c := maps.Clone(s)
	c["description"] = help
	return c
}

// resourcesSchema is what a stage takes while it runs.
func resourcesSchema() schema {
	count := func(least int) schema {
		return withReference(schema{"type": []string{"integer", "null"}, "minimum": least})
	}
	cpu, gpu := described(count(1), "Processors. Default: 1."), described(count(0), "GPUs. Default: 0.")
	cpu["default"], gpu["default"] = 1, 0
	return schema{"description": "What the stage takes while it runs: cpu, gpu, memory, and what the file declares under resources. Never part of a key.",
		"anyOf": []any{reference, schema{"type": []string{"object", "null"}, "additionalProperties": count(0), "propertyNames": schema{"pattern": resourcePattern},
			"properties": schema{"cpu": cpu, "gpu": gpu,
				"memory": described(withReference(schema{"type": []string{"string", "null"}, "pattern": sizePattern}), "Bytes, with a unit: 512MiB, 4GiB.")}}}}
}

// totalsSchema is what there is of resources for all stages together.
func totalsSchema() schema {
	count := withReference(schema{"type": "integer", "minimum": 0})
	return schema{"type": []string{"object", "null"}, "additionalProperties": described(count, "A resource that the file alone knows of, such as a licence: how many there are."),
		"propertyNames": schema{"pattern": resourcePattern}, "description": "What there is to share out among the stages of a run. Default: what the machine has.",
		"properties": schema{
			"cpu":    described(withReference(schema{"type": "integer", "minimum": 1}), "Processors. Default: the machine's."),
			"gpu":    described(count, "GPUs. Default: the machine's."),
			"memory": described(withReference(schema{"type": "string", "pattern": sizePattern}), "Bytes, with a unit: 64GiB. Default: the machine's."),
		}}
}

// matrixSchema is the variables of a stage and their values.
func matrixSchema() schema {
	scalar := schema{"type": []string{"string", "number", "boolean"}}
	values := schema{"anyOf": []any{schema{"type": "array", "minItems": 1, "uniqueItems": true, "items": scalar}, reference}}
	combinations := func(help string) schema {
		return schema{"type": "array", "items": schema{"type": "object", "minProperties": 1, "additionalProperties": scalar}, "description": help}
	}
	return schema{"description": "Variables and their values: every combination is a stage of its own, and finds its values at ${matrix.NAME}.",
		"anyOf": []any{reference, schema{"type": []string{"object", "null"}, "additionalProperties": values, "propertyNames": schema{"pattern": `^[A-Za-z_][A-Za-z0-9_-]*$`},
			"properties": schema{
				"include": combinations("More combinations, each with a value for every variable."),
				"exclude": combinations("Combinations to leave out: those that have all these values."),
			}}}}
}

const (
	resourcePattern = `^[a-z][a-z0-9_-]*$`
	sizePattern     = `^(0|[0-9.eE+-]+ *[A-Za-z]+)$`
)

// durationPattern is a duration as 90s, 15m, 1h30m.
const durationPattern = `^([0-9.]+(h|m|s|ms|us|ns))+$`
