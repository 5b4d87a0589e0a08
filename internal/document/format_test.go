package document

import (
	"os"
	"path/filepath"
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
