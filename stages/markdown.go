package stages

import (
	"fmt"
	"reflect"
	"strings"

	"pipe/internal/document"
)

// Markdown documents every kind.
func (r *Registry) Markdown() string {
	var b strings.Builder
	b.WriteString("# Stage kinds\n\nMade by `make generate` from the kinds' own declarations; `pipe stages NAME` prints the same.\n")
	for _, k := range r.All() {
		b.WriteString("\n" + k.Markdown())
	}
	return b.String()
}

// Markdown documents the kind: ports and parameters.
func (k *Kind) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s (version %s)\n", k.Name, k.Summary, k.Version)
	if k.Open {
		b.WriteString("\nPorts: `in:` maps names to paths or references; `out:` lists names.\n")
	}
	if len(k.Inputs) > 0 {
		b.WriteString("\n| input | | reads |\n|---|---|---|\n")
		for _, p := range k.Inputs {
			help := p.Help
			if p.Optional {
				help += " (optional)"
			}
			files := "everything"
			if len(p.Files) > 0 {
				files = "`" + strings.Join(p.Files, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, cell(help), files)
		}
	}
	if len(k.Outputs) > 0 {
		b.WriteString("\n| output | | |\n|---|---|---|\n")
		for _, p := range k.Outputs {
			help := p.Help
			if p.Optional {
				help += " (may be absent)"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, p.Type(), cell(help))
		}
	}
	if rows := paramRows("", k.params); len(rows) > 0 {
		b.WriteString("\n| parameter | type | default | |\n|---|---|---|---|\n" + strings.Join(rows, ""))
	}
	return b.String()
}

func paramRows(prefix string, t reflect.Type) []string {
	var rows []string
	for _, f := range document.Describe(t) {
		name := prefix + f.Name
		if f.Type.Kind() == reflect.Struct {
			rows = append(rows, fmt.Sprintf("| `%s` | map | | %s |\n", name, cell(f.Help)))
			rows = append(rows, paramRows(name+".", f.Type)...)
			continue
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, cell(typeText(f)), cell(defaultText(f)), cell(paramHelp(f))))
	}
	return rows
}

func typeText(f document.Field) string {
	if len(f.Enum) > 0 {
		return strings.Join(f.Enum, ", ")
	}
	text := document.TypeName(f.Type)
	var bounds []string
	for _, b := range [][2]string{{"from ", f.Min}, {"above ", f.Above}, {"to ", f.Max}} {
		if b[1] != "" {
			bounds = append(bounds, b[0]+b[1])
		}
	}
	if len(bounds) > 0 {
		text += " " + strings.Join(bounds, " ")
	}
	return text
}

func defaultText(f document.Field) string {
	switch {
	case f.Required:
		return "required"
	case f.HasValue && f.Default != "":
		return "`" + f.Default + "`"
	}
	return ""
}

func paramHelp(f document.Field) string {
	switch f.Tag.Get("key") {
	case "-":
		return f.Help + " (not in the key: " + f.Tag.Get("why") + ")"
	case "stop":
		return f.Help + " (only stops)"
	}
	return f.Help
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
