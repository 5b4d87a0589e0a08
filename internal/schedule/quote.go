package schedule

import (
	"bytes"
	"encoding/json"
	"strings"
)

// shellQuote writes text as one word of a POSIX shell.
func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'"
}

// yamlQuote writes text as a YAML string: JSON's strings are YAML's.
func yamlQuote(text string) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(text)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// unitSpecifiers writes text where systemd looks for specifiers and nothing else.
func unitSpecifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// unitQuote writes text as one word of a line that systemd splits into words
// (systemd.syntax(7), "Quoting").
func unitQuote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(unitSpecifiers(text)) + `"`
}

// unitProgram writes the path of a program for ExecStart=. There are no variables
// in it, and systemd takes no quotes and backslashes there: a shell does.
func unitProgram(path string) string {
	if strings.ContainsAny(path, "\"'\\") {
		return `/bin/sh -c "exec \"$$0\" \"$$@\"" ` + unitArgument(path)
	}
	return unitQuote(path)
}

// unitArgument writes text as an argument of ExecStart=, where $ begins a variable.
func unitArgument(text string) string {
	return unitQuote(strings.ReplaceAll(text, "$", "$$"))
}
