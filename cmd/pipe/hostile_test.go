package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostileValues are texts that a shell, a template or a parser might take for more
// than they are: over two hundred.
func hostileValues() []string {
	run := []string{"touch pwned", "touch $HOME/pwned", ": >pwned", "cp /dev/null pwned"}
	values := []string{"", " ", "  two  spaces  ", "\t", "'", `"`, "`", `\`, `\\`, `'"`, `"'`, "$", "$$", "$${", "$${x}", "${", "${}", "${x", "}", "{", "{}", "{{}}", "${{x}}", "$(", "$()", ")", "%", "%s%n", "%%", "%(x)s", "%d%x", "100%", "!", "!!", "!x", "#", "# no comment", "a #b", "~", "~root", "*", "?", "[a-z]*", "**/*", "{a,b}", "{1..9}", "/dev/nul*", "&", "&&", "|", "||", ";", ";;", "<", ">", ">>x", "<<EOF", "<(true)", "-", "--", "-n", "-e", "-c", "--help", "--version", "-rf", "-exec", "--set=params.v0=x", "@file", "=", "a=b", ":", "a: b", "- a", "? a", "yes", "no", "null", "NULL", "~x", "true", "1", "010", "0x1F", "1e400", ".nan", "2026-01-01", "<<", "&anchor", "*alias", "!!binary x", "---", "...", "%YAML 1.2", "${params.v0}", "${params.nosuch}", "${in.x}", "${out.x}", "$${in.x}", "${pipeline}", "${profile}", "${PATH}", "$PATH", "$HOME", "$IFS", "${IFS}", "$0", "$1", "$@", "$*", "$?", "$-", "${HOME:-x}", "${x:?no}", "$'\\n'", `$"x"`, "$((1+1))", "$[1+1]",
		"line one\nline two", "\n", "\n\n\n", "ends in a line feed\n", "\r", "a\rb", "a\r\nb", "\a\b\f\v", "\x01\x02\x7f", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "äöü ß", "漢字", "🙂👩‍👩‍👧", "\u202etxt.exe", "\u200b", "\u00a0", "\u2028\u2029", "\ufeff", "é", "e\u0301", "İıſ", strings.Repeat("a", 20_000), strings.Repeat("$(touch pwned)", 500), strings.Repeat("'", 999), strings.Repeat("../", 40) + "etc/passwd", "/etc/passwd", "..", ".", "file:///etc/passwd", "builtin:tiny-mistral", "hf:a/b@main", "C:\\Windows", "\\\\host\\share", "a\\", "a\\\\\\", `\n`, `\x00`, `\u0000`, `\0`, "PATH=/tmp", "LD_PRELOAD=x.so", "PIPE_IN_X=/etc/passwd", "() { :; }; touch pwned", "<script>alert(1)</script>", "&lt;", "' OR 1=1 --", "../../x", "a/b", "con", "nul", "\"\"\"", "'''", "“quotes”", "‘x’", "x\\'y", "EOF", "\nEOF\ntouch pwned\n", "#!/bin/sh\ntouch pwned", "eval", "exit 1", "set -e", "trap 'touch pwned' EXIT"}
	for _, r := range run {
		values = append(values, "$("+r+")", "`"+r+"`", ";"+r, "; "+r+" ;", "&& "+r, "|| "+r, "| "+r, "& "+r+" &", "\n"+r+"\n", "'; "+r+"; '", `"; `+r+`; "`, `'"; `+r+`; '"`, "\\\n"+r, ")"+r+"(", "${x:-$("+r+")}", "<("+r+")", "\r"+r, "x' $("+r+") 'x", `x" $(`+r+`) "x`)
	}
	return values
}

// yamlText is a value as a YAML string. With template its ${ are written so that they
// stand for themselves.
func yamlText(value string, template bool) string {
	if template {
		value = strings.ReplaceAll(value, "${", "$${")
	}
	b, _ := json.Marshal(value)
	return strings.ReplaceAll(string(b), "\x7f", `\u007f`)
}

// hostilePlace is a folder whose own path is hostile, too, with a pipeline of one stage.
func hostilePlace(t *testing.T, params, stage string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "we ird $(touch pwned) `touch pwned` 'x' \"y\" %s ${HOME} *")
	write(t, filepath.Join(dir, "p.yaml"), "pipeline: hostile\nparams:\n  none: 0\n"+params+"stages:\n  a:\n    uses: command\n    out: [x]\n    publish: { x: out.json }\n"+stage)
	return dir
}

// runHostile runs the pipeline there, sees to it that nothing was executed, and returns
// what the program was handed.
func runHostile(t *testing.T, dir string, vars []string, args ...string) told {
	t.Helper()
	vars = append(vars, "HOME="+dir)
	stdout, stderr, status := execute(t, dir, vars, "pipe", append([]string{"run", "p.yaml"}, args...)...)
	if status != 0 {
		t.Fatalf("exit %d\n%.3000s\n%.3000s", status, stdout, stderr)
	}
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Name() == "pwned" {
			t.Errorf("something was executed: there is %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var got told
	read(t, filepath.Join(dir, "out.json"), &got)
	return got
}

func sameValues(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d values, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %.200q, want %.200q", got[i], want[i])
		}
	}
}

func TestHostileValuesArriveVerbatim(t *testing.T) {
	values := hostileValues()
	if len(values) < 200 {
		t.Fatalf("%d values only", len(values))
	}
	// A program's argument may have 128 KiB, and a line of a file half of that: every value is well below.
	params := func(form string) string {
		var b strings.Builder
		for i, v := range values {
			fmt.Fprintf(&b, form, i, yamlText(v, true))
		}
		return b.String()
	}
	argv := func(elements func(b *strings.Builder)) string {
		b := &strings.Builder{}
		b.WriteString("    with:\n      argv:\n        - tell\n        - ${out.x}\n")
		elements(b)
		return b.String()
	}
	variables := func(x told, prefix string) []string {
		var got []string
		for i := range values {
			v, _ := x.variable(fmt.Sprintf("%s%d", prefix, i))
			got = append(got, v)
		}
		return got
	}

	t.Run("argv", func(t *testing.T) {
		dir := hostilePlace(t, "", argv(func(b *strings.Builder) {
			for _, v := range values {
				fmt.Fprintf(b, "        - %s\n", yamlText(v, true))
			}
		}))
		sameValues(t, runHostile(t, dir, nil).Argv, values)
	})
	t.Run("argv by params", func(t *testing.T) {
		dir := hostilePlace(t, params("  v%d: %s\n"), argv(func(b *strings.Builder) {
			for i := range values {
				fmt.Fprintf(b, "        - ${params.v%d}\n        - \"<${params.v%d}>${params.v%d}\"\n", i, i, i)
			}
		}))
		var want []string
		for _, v := range values {
			want = append(want, v, "<"+v+">"+v)
		}
		sameValues(t, runHostile(t, dir, nil).Argv, want)
	})
	t.Run("shell params", func(t *testing.T) {
		dir := hostilePlace(t, "", "    with:\n      shell: 'tell \"$PIPE_OUT_X\" \"$PIPE_PARAM_V0\"'\n      params:\n"+params("        v%d: %s\n"))
		sameValues(t, variables(runHostile(t, dir, nil), "PIPE_PARAM_V"), values)
	})
	t.Run("shell params by params", func(t *testing.T) {
		var b strings.Builder
		for i := range values {
			fmt.Fprintf(&b, "        v%d: ${params.v%d}\n", i, i)
		}
		dir := hostilePlace(t, params("  v%d: %s\n"), "    with:\n      shell: 'tell \"$PIPE_OUT_X\"'\n      params:\n"+b.String())
		sameValues(t, variables(runHostile(t, dir, nil), "PIPE_PARAM_V"), values)
	})
	t.Run("set", func(t *testing.T) {
		var uses strings.Builder
		var sets []string
		for i, v := range values {
			fmt.Fprintf(&uses, "        v%d: ${params.v%d}\n        w%d: none\n", i, i, i)
			sets = append(sets, fmt.Sprintf("--set=params.v%d=%s", i, yamlText(v, true)), fmt.Sprintf("--set=a.params.w%d=%s", i, yamlText(v, true)))
		}
		dir := hostilePlace(t, params("  v%d: none\n#%.0s\n"), "    with:\n      shell: 'tell \"$PIPE_OUT_X\"'\n      params:\n"+uses.String())
		got := runHostile(t, dir, nil, sets...)
		sameValues(t, variables(got, "PIPE_PARAM_V"), values)
		sameValues(t, variables(got, "PIPE_PARAM_W"), values)
	})
	t.Run("env", func(t *testing.T) {
		var names, vars []string
		for i, v := range values {
			names, vars = append(names, fmt.Sprintf("V%d", i)), append(vars, fmt.Sprintf("V%d=%s", i, v))
		}
		dir := hostilePlace(t, "", "    env: ["+strings.Join(names, ", ")+"]\n    with: { argv: [tell, '${out.x}'] }\n")
		sameValues(t, variables(runHostile(t, dir, vars), "V"), values)
	})
	t.Run("file names", func(t *testing.T) {
		var in, paths, want []string
		var names []string
		for _, v := range values {
			if v != "" && v != "." && v != ".." && !strings.Contains(v, "/") && len(v) < 255 {
				names = append(names, v)
			}
		}
		if len(names) < 150 {
			t.Errorf("%d names only", len(names))
		}
		for i, name := range names {
			in = append(in, fmt.Sprintf("      p%d: %s\n", i, yamlText("./files/"+name, true)))
			paths = append(paths, fmt.Sprintf("        - ${in.p%d}\n", i))
			want = append(want, "content of "+name)
		}
		dir := hostilePlace(t, "", "    in:\n"+strings.Join(in, "")+argv(func(b *strings.Builder) { b.WriteString(strings.Join(paths, "")) }))
		for _, name := range names {
			write(t, filepath.Join(dir, "files", name), "content of "+name)
		}
		// The program's arguments are links into its private folder, which is gone;
		// they are read by a second program below.
		got := runHostile(t, dir, nil)
		if len(got.Argv) != len(names) || slices.ContainsFunc(got.Argv, func(p string) bool { return !strings.HasPrefix(p, "/") }) {
			t.Errorf("got %d paths", len(got.Argv))
		}
		text, err := os.ReadFile(filepath.Join(dir, "p.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "p.yaml"), strings.Replace(string(text), "- tell\n        - ${out.x}\n", "- sh\n        - -c\n        - 'tell \"$0\" \"$(for f; do cat \"$f\"; echo \"|\"; done)\"'\n        - ${out.x}\n", 1))
		if got := runHostile(t, dir, nil); got.Argv[0]+"\n" != strings.Join(want, "|\n")+"|\n" {
			t.Errorf("got %.2000q", got.Argv[0])
		}
	})
}
