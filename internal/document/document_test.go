package document

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, text string) *Node {
	t.Helper()
	n, err := Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatalf("parse %q: %v", text, err)
	}
	return n
}

func TestScalarsFollowOurRules(t *testing.T) {
	for _, c := range []struct {
		text string
		kind Kind
		num  float64
	}{
		{"2e-4", Float, 2e-4}, {"2.0e-4", Float, 2e-4}, {"1e3", Float, 1000}, {"-0", Int, 0}, {"+7", Int, 7}, {".5", Float, .5}, {"1.", Float, 1},
		{"1e400", String, 0}, {"010", String, 0}, {"08", String, 0}, {"0x1F", String, 0}, {"0o17", String, 0}, {"1_000", String, 0},
		{".inf", String, 0}, {".nan", String, 0}, {"9223372036854775808", Float, 9223372036854775808},
		{"true", Bool, 0}, {"yes", String, 0}, {"on", String, 0}, {"null", Null, 0}, {"~", Null, 0}, {"", Null, 0},
		{"'1'", String, 0}, {`"true"`, String, 0}, {"1h30m", String, 0}, {"2024-01-02", String, 0}, {"1.2.3", String, 0}, {"12:30", String, 0},
	} {
		n := mustParse(t, "a: "+c.text).Get("a")
		if n.Kind != c.kind || n.Float != c.num {
			t.Errorf("%q: got %v %v, want %v %v", c.text, n.Kind, n.Float, c.kind, c.num)
		}
	}
}

func TestPlacesCountBytes(t *testing.T) {
	n := mustParse(t, "# c\né: 'ü'\nm: {ключ: [1, \"x\"], b: 2}\ntext: |\n  one\n  two\nlist:\n  - k: v\n")
	for _, c := range []struct {
		node *Node
		want string
	}{
		{n.Get("é"), "2:5"},
		{n.Get("m"), "3:4"},
		{n.Get("m").Get("ключ").Items[1], "3:19"},
		{n.Get("m").Get("b"), "3:28"},
		{n.Get("text"), "4:7"},
		{n.Get("list").Items[0].Get("k"), "8:8"},
	} {
		if got := fmt.Sprintf("%d:%d", c.node.Pos.Line, c.node.Pos.Col); got != c.want {
			t.Errorf("%s: got %s, want %s", c.node.Describe(), got, c.want)
		}
	}
	if got := n.Get("text").Text; got != "one\ntwo\n" {
		t.Errorf("block scalar: got %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"anchor", "a: &x 1\nb: 2\n", "f.yaml:1:4: anchors"},
		{"alias", "a: [*x]\n", "f.yaml:1:5: aliases"},
		{"merge key", "a:\n  <<: {b: 1}\n", "f.yaml:2:3: merge keys"},
		{"tag", "deps: !x\n", "f.yaml:1:7: tags (!x)"},
		{"explicit key", "? a\n: b\n", "f.yaml:1:1: explicit keys"},
		{"second document", "a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document"},
		{"duplicate key", "a: 1\nb: 2\na: 3\n", `f.yaml:3:1: `},
		{"invalid UTF-8", "a: 1\nb: \xff\n", "f.yaml:2:4: byte 0xff"},
		{"NUL", "a: \x00\n", "f.yaml:1:4: control character U+0000"},
		{"byte order mark", "\xef\xbb\xbfa: 1\n", "f.yaml:1:1: file begins with a byte order mark"},
		{"deep flow", "a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "f.yaml:1:35: nested deeper"},
		{"deep block", deepBlock(40), "f.yaml:33:33: nested deeper"},
		{"deep on one line", strings.Repeat("- ", 40) + "a", "f.yaml:1:65: nested deeper"},
		{"unclosed", strings.Repeat("[[[[\n", 100000), "nested deeper"},
		{"unclosed maps", strings.Repeat("{a: ", 100000), "line of"},
		{"wide", wide("", 2001), "f.yaml:2001:1: more than 2000 keys"},
		{"wide stages", "stages:\n" + wide("  ", 20001), "f.yaml:20002:3: more than 20000 keys"},
		{"unclosed quote", "a: \"x\n", "f.yaml:1:4:"},
		{"tab indent", "a:\n\tb: 1\n", "f.yaml:2:"},
	} {
		n, err := Parse("f.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			text := fmt.Sprint(err)
			t.Errorf("%s: got %.200s, want %s", c.name, text, c.want)
		}
		if err != nil && n != nil {
			t.Errorf("%s: a node and an error", c.name)
		}
	}
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

func wide(indent string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sk%d: v\n", indent, i)
	}
	return b.String()
}

func TestParseReadsWhatGuardCouldMistake(t *testing.T) {
	n := mustParse(t, "---\na: it's [not] a {list}\nb: |\n"+strings.Repeat("  key: value [[[\n", 3000)+"stages:\n"+wide("  ", 5000))
	if got := n.Get("a").Text; got != "it's [not] a {list}" {
		t.Errorf("got %q", got)
	}
	if got := len(n.Get("stages").Entries); got != 5000 {
		t.Errorf("got %d stages", got)
	}
	if empty := mustParse(t, "# nothing\n"); empty.Kind != Map || len(empty.Entries) != 0 {
		t.Errorf("an empty file is %v", empty.Kind)
	}
}

type example struct {
	Rate   float64       `yaml:"rate" default:"5e-5" above:"0" max:"1" help:"learning rate"`
	Steps  int           `yaml:"steps" default:"100" min:"1"`
	Budget time.Duration `yaml:"budget" default:"1h30m"`
	Mode   string        `yaml:"mode" default:"last" enum:"last|best"`
	Names  []string      `yaml:"names"`
	Need   string        `yaml:"need" required:"true"`
	Bands  struct {
		Loss  *[2]float64 `yaml:"loss"`
		Below *float64    `yaml:"below"`
	} `yaml:"bands"`
	Env map[string]string `yaml:"env"`
}

func (e *example) Check(report func(field, message, hint string)) {
	if l := e.Bands.Loss; l != nil && l[0] > l[1] {
		report("bands.loss", "must rise", "")
	}
}

func TestDecodeFillsDefaultsAndValues(t *testing.T) {
	var e example
	n := mustParse(t, "rate: 2e-4\nneed: x\nnames: [a, b]\nbands: {loss: [0.5, 1]}\nenv: {K: v}\nbudget: 90s\n")
	if problems := Decode(n, &e, "parameter", n); len(problems) > 0 {
		t.Fatal(problems)
	}
	if e.Rate != 2e-4 || e.Steps != 100 || e.Budget != 90*time.Second || e.Mode != "last" || len(e.Names) != 2 || e.Bands.Loss[1] != 1 || e.Bands.Below != nil || e.Env["K"] != "v" {
		t.Errorf("got %+v", e)
	}
}

func TestDecodeFindsAllProblemsAtOnce(t *testing.T) {
	var e example
	n := mustParse(t, "rate: 0\nsteps: 1.5\nbudget: 90\nmode: lst\nnames: [1]\nbands: {loss: [1], belw: 2}\nrat: 3\n")
	got := Decode(n, &e, "parameter", n).Err().Error()
	for _, want := range []string{
		"f.yaml:1:1: parameter \"need\" is missing",
		"f.yaml:1:7: rate: must be above 0, got 0",
		"f.yaml:2:8: steps: must be a whole number, got a number 1.5",
		"f.yaml:3:9: budget: must be a duration, got a whole number 90",
		"f.yaml:4:7: mode: must be one of last, best, got \"lst\"",
		"did you mean \"last\"?",
		"f.yaml:5:9: names[0]: must be a string, got a whole number 1",
		"f.yaml:6:15: bands.loss: must have 2 elements, got 1",
		"f.yaml:6:20: unknown parameter \"bands.belw\"",
		"f.yaml:7:1: unknown parameter \"rat\"",
		"did you mean \"rate\"?",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
}

func TestDecodeChecksFieldsTogether(t *testing.T) {
	var e example
	n := mustParse(t, "need: x\nbands: {loss: [2, 1]}\n")
	if got := Decode(n, &e, "parameter", n); len(got) != 1 || !strings.HasPrefix(got.Error(), "f.yaml:2:15: bands.loss: must rise") {
		t.Errorf("got %v", got)
	}
}

func TestMergeIsDeepInMapsOnly(t *testing.T) {
	base := mustParse(t, "a: {x: 1, y: [1, 2]}\nb: 1\n")
	over := mustParse(t, "a: {y: [3], z: 4}\n")
	m := Merge(base, over)
	if m.Get("a").Get("x").Int != 1 || len(m.Get("a").Get("y").Items) != 1 || m.Get("a").Get("z").Int != 4 || m.Get("b").Int != 1 {
		t.Errorf("got %+v", m)
	}
	if len(base.Get("a").Entries) != 2 {
		t.Error("merging changed its input")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: 1\nb: [x, {y: 2e-4}]\nc: |\n  t\n"))
	f.Add([]byte("deps: !x"))
	f.Add([]byte("? \"\\n"))
	f.Add([]byte(deepBlock(20)))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := Parse("f", text)
		if (n == nil) == (err == nil) {
			t.Fatalf("node %v, error %v", n, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Fatalf("no place: %v", err)
		}
		if n != nil {
			var e example
			Decode(n, &e, "parameter", n)
		}
	})
}

func TestCarriageReturnsCountNoLines(t *testing.T) {
	text := "# c1\r\n# c2\r\na: 1 # c3\r\nb: # c4\r\n  c: | # c5\r\n    x\r\n    y\r\n  d: \"p\r\n    q\" # c6\r\n  e: 2\r"
	n, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b := n.Get("b")
	if got := b.Get("c").Text + b.Get("d").Text; got != "x\ny\np q" {
		t.Errorf("got %q", got)
	}
	if p := b.Get("e").Problem("here"); p.Line != 10 || p.Col != 6 || p.Source != "  e: 2" {
		t.Errorf("got %s", p.Error())
	}
	for text, want := range map[string]string{
		"# c\r\na: 1 # d\r\nb: 2\r\na: 3\r\n": `f:4:1: mapping key "a" already defined at [2:1]`,
		"# c\r\na: 1 # d\r\nb: &x 2\r\n":      "f:3:4: anchors",
		"# c\r\na: 1 # d\r\nb: \rx\r\n":       "f:3:4: control character U+000D",
	} {
		if _, err := Parse("f", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestNearestIsCloseInProportion(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"trian", "train"}, {"tran", "train"}, {"lrr", "lr"}, {"zz", ""}, {"x", ""}, {"lx", ""}, {"grain", "train"}, {"growing", ""},
	} {
		if got := Nearest(c.name, []string{"a", "lr", "train"}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
