package jsonfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestValuesAreReadByType(t *testing.T) {
	o, err := Parse("c.json", []byte("{\"i\": 3, \"f\": 1e-5, \"b\": true, \"s\": \"x\\n\", \"l\": [\"a\"], \"n\": [1, 2], \"o\": {\"deep\": 1.5}, \"z\": null}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Int("i") != 3 || o.Float("f") != 1e-5 || !o.Bool("b") || o.String("s") != "x\n" || o.Object("o").Float("deep") != 1.5 {
		t.Error("a value differs")
	}
	if !slices.Equal(o.Strings("l"), []string{"a"}) || !slices.Equal(o.Ints("n"), []int{1, 2}) || len(o.Keys()) != 8 {
		t.Error("a list differs")
	}
	if o.Has("z") || !o.Defined("z") || o.Has("none") || o.Defined("none") || o.Raw("s")[0] != '"' || o.Raw("none") != "" {
		t.Error("null, missing and present are confused")
	}
	if err := o.Err(); err != nil {
		t.Error(err)
	}
}

func TestProblemsNameThePlace(t *testing.T) {
	o, err := Parse("c.json", []byte("\n{\n  \"width\": \"12\",\n  \"eps\": true, \"rope\": {\n    \"theta\": [1]},\n  \"big\": 99999999999999999999, \"half\": 1.5,\n  \"l\": [1], \"m\": [null], \"flag\": 0, \"no\": null, \"huge\": 1e999, \"t\": 4\n}"))
	if err != nil {
		t.Fatal(err)
	}
	o.Int("width")
	o.Float("eps")
	o.Object("rope").Float("theta")
	o.Int("big")
	o.Int("half")
	o.Strings("l")
	o.Strings("m")
	o.Ints("m")
	o.Bool("flag")
	o.Int("no")
	o.Int("absent")
	o.Float("huge")
	o.Object("half").Int("x")
	o.String("t")
	got := o.Err().Error()
	for _, want := range []string{
		"c.json:3:12: width: must be a whole number, got \"12\"",
		"c.json:4:10: eps: must be a number, got true",
		"c.json:5:14: rope.theta: must be a number, got [1]",
		"c.json:6:10: big: must be a whole number",
		"half: must be a whole number, got 1.5",
		"c.json:7:8: l: must be a list of strings, got [1]",
		"m: must be a list of strings, got [null]",
		"m: must be a list of whole numbers, got [null]",
		"flag: must be true or false, got 0",
		"no: must be a whole number, got null",
		"c.json:2:1: absent: must be a whole number, it is missing",
		"huge: must be a number, got 1e999",
		"half: must be an object, got 1.5",
		"half.x: must be a whole number, it is missing",
		"t: must be a string, got 4",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "unexpected end"},
		{"cut off", "{\"a\": 1,", "unexpected end"},
		{"cut in a value", "{\"a\": [1", "unexpected end"},
		{"list", "[]", "c.json:1:1: must be a JSON object"},
		{"bad value", "{\n \"a\": nul}", "c.json:2:10: not JSON"},
		{"trailing comma", "{\"a\": 1,}", "not JSON"},
		{"duplicate key", "{\"a\": 1,\n\"a\": 2}", "c.json:2:3: key \"a\" stands twice"},
		{"rest", "{} {}", "not JSON"},
		{"not UTF-8", "{\"a\": \"\xff\"}", "c.json:1:8: byte 0xff is not UTF-8"},
		{"nested too deep", "{\"a\": " + strings.Repeat("[", 20000), "not JSON"},
		{"huge", "{" + strings.Repeat(" ", maxSize), "larger than 4 MiB"},
	} {
		o, err := Parse("c.json", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || o != nil {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestReadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if _, err := Read(path); !os.IsNotExist(err) {
		t.Errorf("got %v, want a missing file", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.HasPrefix(err.Error(), path) {
		t.Errorf("got %v, want it to begin with the path", err)
	}
}
