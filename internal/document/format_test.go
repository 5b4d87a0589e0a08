package document

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/golden"
)

// TestFormat formats testdata/format/*.yaml.
func TestFormat(t *testing.T) {
	files, _ := filepath.Glob("testdata/format/*.yaml")
	if len(files) == 0 {
		t.Fatal("there are no files to format")
	}
	order := func(path []string) []string {
		if len(path) == 0 {
			return []string{"pipeline", "params"}
		}
		return []string{"first", "second"}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Format(file, text, order)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		golden.Compare(t, "format/"+filepath.Base(file)+".golden", out)
		again, err := Format(file, out, order)
		if err != nil || string(again) != string(out) {
			t.Errorf("%s: formatting again changes it (%v):\n%s", file, err, golden.Diff(string(out), string(again)))
		}
	}
}

// FuzzFormat holds Format to its word for any text: it keeps the meaning and every
// comment, which it checks itself, and a second time changes nothing.
func FuzzFormat(f *testing.F) {
	files, _ := filepath.Glob("testdata/format/*.yaml")
	shipped, _ := filepath.Glob("../../pipelines/*.yaml")
	for _, file := range append(files, shipped...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: \"\\u00e9\\\"\" # c\r\nb: {'it''s': \"x\\U0001F600\"}\r\n"))
	f.Add([]byte("a: [b, # c\n {d: e}] # f\n"))
	f.Add([]byte("a:\n - # c\n  - # d\n   b: |+ # e\n\n    x\n\n#f\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		order := func([]string) []string { return []string{"b", "a"} }
		out, err := Format("f", text, order)
		if err != nil {
			return
		}
		again, err := Format("f", out, order)
		if err != nil {
			t.Fatalf("%v\n%q\nof\n%q", err, out, text)
		}
		if string(again) != string(out) {
			t.Fatalf("got\n%q\nthen\n%q\nof\n%q", out, again, text)
		}
	})
}

func TestFormatKeepsEscapes(t *testing.T) {
	for text, want := range map[string]string{
		`a: "a\u00e9"`:                      `a: "a\u00e9"`,
		`a: ["\u200b",  "a\U0001F600" ]`:    `a: ["\u200b", "a\U0001F600"]`,
		`a: {"k\u00a0": "\u00a0x\"", b: c}`: `a: { "k\u00a0": "\u00a0x\"", b: c }`,
		"a:\n- \"\\x41 \\u00e9\"   # c":     "a:\n  - \"\\x41 \\u00e9\"  # c",
		`a: 'it''s \u00e9'`:                 `a: 'it''s \u00e9'`,
		"a: \"x\n  y\\u00e9\"":              `a: "x yé"`,
		"a: \"x\\\n  y\\u200b\"":            `a: "xy\u200b"`,
	} {
		if out, err := Format("f", []byte(text+"\n"), nil); err != nil || string(out) != want+"\n" {
			t.Errorf("%s: got %s (%v), want %s", text, out, err, want)
		}
	}
}

func TestFormatOpensLongFlows(t *testing.T) {
	long := "[" + strings.Repeat("abcdefghij, ", 9) + "k]"
	got, err := Format("f", []byte("s:\n  a: 1\n\n  z: {b: {c: 1, d: "+long+"}, e: 2, f: "+long+"}     # why\n"), nil)
	want := "s:\n  a: 1\n\n  z:  # why\n    b:\n      c: 1\n      d: " + long + "\n    e: 2\n    f: " + long + "\n"
	if err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestFormatNamesWhatWouldDiffer(t *testing.T) {
	parse := func(text string) *Node {
		n, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct{ name, a, b, want string }{
		{"text", "a: 1\nb: [x, y]\n", "b: [x, z]\na: 1\n", "f:2:8"},
		{"a key", "a: { b: 1 }\n", "a: { c: 1 }\n", "f:1:9"},
		{"the number of items", "a: 1\nb: [x]\n", "a: 1\nb: [x, y]\n", "f:2:4"},
		{"nothing", "a: 1\nb: 2\n", "b: 2\na: 1\n", ""},
	} {
		got := ""
		if d := difference(parse(c.a), parse(c.b)); d != nil {
			got = d.Place()
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	text := []byte("# one\na: 1 # two\n")
	if at := lostComment(parse(string(text)), text, []byte("# one\na: 1\n")); at == nil || at.Place() != "f:2:6" {
		t.Errorf("a lost comment is told at %v", at)
	}
}
