package stages

// attemptSchema describes the keys of a stage that say how it is tried.
func attemptSchema() schema {
	duration := schema{"type": "string", "pattern": durationPattern}
	count := schema{"type": "integer", "minimum": 0, "maximum": 100}
	return schema{
		"timeout": schema{"type": "string", "pattern": durationPattern, "description": "How long an attempt may take, as in 10m. Not in the key."},
		"retries": schema{"description": "How often a stage that fails is tried again: a number, or max and backoff. Not in the key.", "anyOf": []any{count,
			schema{"type": "object", "additionalProperties": false, "required": []string{"max"}, "properties": schema{
				"max": schema{"type": "integer", "minimum": 0, "maximum": 100, "description": "Attempts after the first."},
				"backoff": schema{"anyOf": []any{duration, schema{"const": 0}}, "default": "5s",
					"description": "The pause before the second attempt. It doubles with each, up to 10m, less up to a half."}}}}},
	}
}

// environmentSchema describes the keys of a stage that say what its programs see of
// the world outside.
func environmentSchema() schema {
	names := func(pattern, help string) schema {
		return schema{"type": "array", "uniqueItems": true, "items": schema{"type": "string", "pattern": pattern}, "description": help}
	}
	const variable = `^[A-Za-z_][A-Za-z0-9_]*\??$`
	return schema{
		"env":     names(variable, "Environment variables that the program sees; their values are part of the key. NAME? may be unset."),
		"secrets": names(variable, "Environment variables that the program sees, whose values are part of no key, log, record or message. NAME? may be unset."),
		"tools":   names(`^(/.*|[^/\\]+)$`, "Programs on PATH that the stage uses; the content of their files is part of the key."),
	}
}

// durationPattern is a duration as 90s, 15m, 1h30m.
const durationPattern = `^([0-9.]+(h|m|s|ms|us|ns))+$`
