package builtin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"pipe/internal/document"
	"pipe/internal/golden"
	"pipe/pipeline"
	"pipe/stages"
)

// editor judges pipeline files as an editor with the schema does.
type editor struct{ schema *jsonschema.Schema }

func newEditor(t *testing.T) editor {
	t.Helper()
	b, err := Kinds().JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("pipe.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("pipe.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return editor{schema}
}

func (e editor) judge(t *testing.T, text string) error {
	t.Helper()
	root, err := document.Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e.schema.Validate(value(root))
}

// value is a node as JSON Schema sees it.
func value(n *document.Node) any {
	switch n.Kind {
	case document.Null:
		return nil
	case document.Bool:
		return n.Bool
	case document.Int, document.Float:
		return json.Number(fmt.Sprint(n.Float))
	case document.List:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = value(item)
		}
		return list
	case document.Map:
		m := map[string]any{}
		for _, e := range n.Entries {
			m[e.Key] = value(e.Value)
		}
		return m
	}
	return n.Text
}

// decode is what the strict decoder says.
func decode(text string) error {
	f, err := pipeline.Parse("p.yaml", []byte(text))
	if err != nil {
		return err
	}
	_, err = f.Resolve(Kinds(), pipeline.Options{})
	return err
}

func TestSchemaTakesTheShippedPipelines(t *testing.T) {
	e := newEditor(t)
	files, err := filepath.Glob(filepath.Join(golden.Root(t), "pipelines", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.judge(t, string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// values are what somebody may write for a parameter.
var values = []string{"", "null", "true", "1", "0", "-1", "8", "64", "2.5", "2e-4", "0.5", "1e9", `""`, "text", `"1"`, "1h30m", "90s", "-5m", "0s", "+.5h", "1.5us", "24",
	"[]", "[1, 2]", "[2, 1]", "[0.1]", "[a]", "[a, 1]", "['${params.n}', 2]", "['${params.s}']", "[A praise., '${params.t}']", "{}", "{a: 1}", "{a: '${params.n}'}", "{healthy: {loss: [1, 2]}}",
	"'${params.n}'", "'${params.x}'", "'${params.l}'", "'${params.m}'", "'${params.d}h'", "'lin${params.ear}'", "'${params.e}'", "'$${x}'", "constant", "linear", "nf4", "fp32", "auto", "behaviors", "last"}

const frame = "pipeline: p\nparams: {n: 3, x: 0.5, s: text, t: Fine., l: [A fine one.], m: {}, d: 2, ear: ear, e: cosine}\n"

// TestSchemaRaisesNoFalseAlarm writes every value for every parameter of every kind,
// in a stage and in a profile: what the decoder takes, the schema takes.
func TestSchemaRaisesNoFalseAlarm(t *testing.T) {
	e := newEditor(t)
	taken, refused, caught := 0, 0, 0
	try := func(text string) {
		t.Helper()
		alarm := e.judge(t, text)
		switch err := decode(text); {
		case err == nil && alarm != nil:
			t.Errorf("false alarm at\n%s\n%v", text, alarm)
		case err == nil:
			taken++
		default:
			refused++
			if alarm != nil {
				caught++
			}
		}
	}
	for _, k := range Kinds().All() {
		for _, path := range paramPaths("", k.Fields()) {
			for i, v := range values {
				with := path + ": " + v
				for range strings.Count(path, ".") {
					key, rest, _ := strings.Cut(with, ".")
					with = key + ": {" + rest
				}
				with = "{" + with + strings.Repeat("}", strings.Count(path, ".")+1)
				try(frame + "stages:\n  s:\n" + body(k, with))
				if i%8 != 0 {
					continue // a few do for profiles
				}
				try(frame + fmt.Sprintf("profiles: {q: {stages: {%s: {with: %s}}}}\nstages:\n  %s:\n", k.Name, with, k.Name) + body(k, "{}"))
			}
		}
	}
	if taken < 400 || refused < 400 {
		t.Errorf("only %d files taken and %d refused: the values are too uniform", taken, refused)
	}
	if 4*caught < 3*refused { // the rest is what references stand for, and what fields say of one another
		t.Errorf("the schema saw %d of %d mistakes in values", caught, refused)
	}
	t.Logf("%d taken, %d refused, of which the schema saw %d", taken, refused, caught)
}

func paramPaths(prefix string, fields []document.Field) []string {
	var paths []string
	for _, f := range fields {
		paths = append(paths, prefix+f.Name)
		if f.Type.Kind().String() == "struct" {
			paths = append(paths, paramPaths(prefix+f.Name+".", document.Describe(f.Type))...)
		}
	}
	return paths
}

// body is a stage of a kind with all its ports and required parameters, and more.
func body(k *stages.Kind, with string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "    uses: %s\n    in: {", k.Name)
	for _, p := range k.Inputs {
		fmt.Fprintf(&b, "%s: x, ", p.Name)
	}
	b.WriteString("}\n")
	if k.Open {
		b.WriteString("    out: [y]\n")
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(with, "{"), "}")
	for _, f := range k.Fields() {
		if (f.Required || f.Name == "argv") && !strings.HasPrefix(inner, f.Name) && !(f.Name == "argv" && strings.HasPrefix(inner, "shell")) {
			inner = fmt.Sprintf("%s: [Good question.], %s", f.Name, inner)
		}
	}
	fmt.Fprintf(&b, "    with: {%s}\n", strings.TrimSuffix(inner, ", "))
	return b.String()
}

func TestSchemaSeesMistakesOfForm(t *testing.T) {
	e := newEditor(t)
	const quantize = "stages: { quantize-base: { in: { base: x } } }\n"
	for _, c := range []struct {
		name, text string
		valid      bool
	}{
		{"as it should be", "pipeline: p\n" + quantize, true},
		{"nothing where nothing is needed", "pipeline: p\nparams:\nprofiles:\nstages: { quantize-base: { in: { base: x }, with: , publish: {}, resources: } }\n", true},
		{"empty profiles", "pipeline: p\nprofiles: { a: , b: {}, c: { params: , stages: } }\n" + quantize, true},
		{"a kind by reference", "pipeline: p\nparams: { k: command }\nstages: { a: { uses: \"${params.k}\", out: [y], with: { argv: [x] } } }\n", true},
		{"a name of one kind, the use of another", "pipeline: p\nprofiles: { q: { stages: { train-qlora: { with: { argv: [y] } } } } }\nstages: { train-qlora: { uses: command, out: [y], with: { argv: [x] } } }\n", true},
		{"a stage of any name in a profile", "pipeline: p\nprofiles: { q: { stages: { a: { with: { argv: [y] } } } } }\nstages: { a: { uses: command, out: [y], with: { argv: [x] } } }\n", true},
		{"publications", "pipeline: p\nstages: { quantize-base: { in: { base: x }, publish: { base: { to: out } } } }\n", true},
		{"resources", "pipeline: p\nstages: { quantize-base: { in: { base: x }, resources: { cpu: 2, gpu: 0, memory: 1.5 GiB } } }\n", true},
		{"a matrix", "pipeline: p\nparams: { l: [1] }\nstages: { quantize-base: { in: { base: x }, matrix: { a: [1, x, true], b: \"${params.l}\", exclude: [{ a: 1 }], include: [{ a: 2, b: 3 }] }, publish: { base: \"o-${matrix.a}-${matrix.b}\" } } }\n", true},
		{"totals", "pipeline: p\nparams: { n: 2 }\nresources: { cpu: 8, memory: 1GiB, seat: \"${params.n}\" }\nstages: { quantize-base: { in: { base: x }, resources: { cpu: \"${params.n}\", seat: 1 }, timeout: \"${params.n}h\" } }\n", true},
		{"an empty list in a matrix", "pipeline: p\nstages: { quantize-base: { in: { base: x }, matrix: { a: [] } } }\n", false},
		{"a map in a matrix", "pipeline: p\nstages: { quantize-base: { in: { base: x }, matrix: { a: [{ b: 1 }] } } }\n", false},
		{"a total with a fraction", "pipeline: p\nresources: { seat: 1.5 }\n" + quantize, false},
		{"a stage called matrix", "pipeline: p\nstages: { matrix: { uses: quantize-base, in: { base: x } } }\n", false},
		{"no name", quantize, false},
		{"no stages", "pipeline: p\n", false},
		{"stages without an entry", "pipeline: p\nstages:\n", false},
		{"an unknown key", "pipeline: p\nstage: {}\n" + quantize, false},
		{"a name with a space", "pipeline: a b\n" + quantize, false},
		{"a stage in upper case", "pipeline: p\nstages: { Quantize: { uses: quantize-base, in: { base: x } } }\n", false},
		{"a reserved stage", "pipeline: p\nstages: { params: { uses: quantize-base, in: { base: x } } }\n", false},
		{"a reserved profile", "pipeline: p\nprofiles: { default: {} }\n" + quantize, false},
		{"a profile with another key", "pipeline: p\nprofiles: { q: { pipeline: x } }\n" + quantize, false},
		{"an unknown parameter in a profile", "pipeline: p\nprofiles: { q: { stages: { quantize-base: { with: { bits: 4 } } } } }\n" + quantize, false},
		{"an unknown port in a profile", "pipeline: p\nprofiles: { q: { stages: { quantize-base: { in: { bass: x } } } } }\n" + quantize, false},
		{"a kind that is not there", "pipeline: p\nstages: { a: { uses: quantise-base, in: { base: x } } }\n", false},
		{"no kind", "pipeline: p\nstages: { a: { in: { base: x } } }\n", false},
		{"a port that is not connected", "pipeline: p\nstages: { quantize-base: {} }\n", false},
		{"a port with a number", "pipeline: p\nstages: { quantize-base: { in: { base: 1 } } }\n", false},
		{"outputs of a kind that has its own", "pipeline: p\nstages: { quantize-base: { in: { base: x }, out: [base] } }\n", false},
		{"a command without outputs", "pipeline: p\nstages: { a: { uses: command, with: { argv: [x] } } }\n", false},
		{"a publication without a place", "pipeline: p\nstages: { quantize-base: { in: { base: x }, publish: { base: {} } } }\n", false},
		{"a publication of no output", "pipeline: p\nstages: { quantize-base: { in: { base: x }, publish: { bass: out } } }\n", false},
		{"no processor", "pipeline: p\nstages: { quantize-base: { in: { base: x }, resources: { cpu: 0 } } }\n", false},
		{"memory without a unit", "pipeline: p\nstages: { quantize-base: { in: { base: x }, resources: { memory: 4 } } }\n", false},
		{"a required parameter that is missing", "pipeline: p\nstages: { normalize-compliments: { in: { data: x } } }\n", false},
	} {
		alarm, err := e.judge(t, c.text), decode(c.text)
		if (alarm == nil) != c.valid || (err == nil) != c.valid {
			t.Errorf("%s: valid %v; the schema says %v, the decoder %v", c.name, c.valid, alarm, err)
		}
	}
}
