package cache

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"pipe/internal/manifest"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite golden files")

func exampleAction() (Description, []InputContent) {
	return Description{
			Kind: "train-qlora", Version: "3+ops1",
			Params: map[string]Value{
				"learning_rate": 2e-3, "max_epochs": int64(5), "time_budget": 90 * time.Minute, "on": true, "off": false, "none": nil,
				"targets": []Value{"q_proj", "v_proj"}, "health": map[string]Value{"loss": []Value{0.08, 0.25}}, "zero": negativeZero(),
			},
			Outputs: [][2]string{{"checkpoints", "folder"}, {"metrics", "file"}},
		}, []InputContent{
			{Port: "base", Object: Object{Kind: Tree, Digest: manifest.Sum([]byte("base")), Size: 7}, Reference: "builtin:tiny-mistral"},
			{Port: "tokens", Object: Object{Kind: File, Digest: manifest.Sum([]byte("tokens"))}},
		}
}

func negativeZero() float64 { z := 0.0; return -z }

func TestKeyIsPinned(t *testing.T) {
	d, inputs := exampleAction()
	key, pre := MakeKey(d, inputs), Preimage(d, inputs)
	got := fmt.Sprintf("key %s\npreimage %x\n", key, pre)
	if *update {
		if err := os.WriteFile("testdata/key.golden", []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/key.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the encoding of keys has moved: every store's results are lost\ngot\n%s\nwant\n%s", got, want)
	}
}

// worldKey is exampleAction with something of the world outside.
func worldKey() (Key, []byte) {
	d, inputs := exampleAction()
	d.Env = map[string]Value{"FLAVOUR": "mint", "UNSET": nil}
	d.Tools = map[string]Value{"python3": manifest.Sum([]byte("python"))}
	d.Secrets = []string{"HF_TOKEN"}
	return MakeKey(d, inputs), Preimage(d, inputs)
}

func TestWorldOutsideIsKeyedOnlyWhereDeclared(t *testing.T) {
	d, inputs := exampleAction()
	plain := MakeKey(d, inputs)
	d.Env, d.Tools, d.Secrets = map[string]Value{}, map[string]Value{}, []string{}
	if empty := MakeKey(d, inputs); empty != plain {
		t.Error("an empty declaration moves the key")
	}
	keys := map[Key]string{plain: "nothing"}
	for name, change := range map[string]func(){
		"env":           func() { d.Env = map[string]Value{"A": "x"} },
		"another value": func() { d.Env = map[string]Value{"A": "y"} },
		"empty value":   func() { d.Env = map[string]Value{"A": ""} },
		"unset":         func() { d.Env = map[string]Value{"A": nil} },
		"another name":  func() { d.Env = map[string]Value{"B": "x"} },
		"tool":          func() { d.Tools = map[string]Value{"A": manifest.Sum([]byte("x"))} },
		"another tool":  func() { d.Tools = map[string]Value{"A": manifest.Sum([]byte("y"))} },
		"secret":        func() { d.Secrets = []string{"A"} },
	} {
		d.Env, d.Tools, d.Secrets = nil, nil, nil
		change()
		key, pre := MakeKey(d, inputs), Preimage(d, inputs)
		if other, ok := keys[key]; ok {
			t.Errorf("%s and %s have one key", name, other)
		}
		keys[key] = name
		if v, err := ParseValue(pre); err != nil || !bytes.Equal(AppendValue(nil, v), pre) {
			t.Errorf("%s: the pre-image is no Value in its one form (%v)", name, err)
		}
	}
}

func TestWorldKeyIsPinned(t *testing.T) {
	key, pre := worldKey()
	got := fmt.Sprintf("key %s\npreimage %x\n", key, pre)
	if *update {
		if err := os.WriteFile("testdata/key-world.golden", []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/key-world.golden")
	if err != nil || got != string(want) {
		t.Errorf("the encoding of env, tools and secrets has moved (%v)\ngot\n%s\nwant\n%s", err, got, want)
	}
}

func TestKeyDependsOnEveryPart(t *testing.T) {
	base := MakeKey(exampleAction())
	for name, change := range map[string]func(*Description, []InputContent){
		"kind":      func(d *Description, _ []InputContent) { d.Kind = "x" },
		"version":   func(d *Description, _ []InputContent) { d.Version = "4" },
		"param":     func(d *Description, _ []InputContent) { d.Params["max_epochs"] = int64(6) },
		"type":      func(d *Description, _ []InputContent) { d.Params["max_epochs"] = 5.0 },
		"no param":  func(d *Description, _ []InputContent) { delete(d.Params, "none") },
		"output":    func(d *Description, _ []InputContent) { d.Outputs[0][1] = "file" },
		"port":      func(_ *Description, in []InputContent) { in[0].Port = "bass" },
		"content":   func(_ *Description, in []InputContent) { in[1].Object = in[0].Object },
		"reference": func(_ *Description, in []InputContent) { in[0].Reference = "" },
	} {
		d, in := exampleAction()
		change(&d, in)
		if key := MakeKey(d, in); key == base {
			t.Errorf("%s: the key did not change", name)
		}
	}
	d, in := exampleAction()
	in[0].Object.Size = 99
	if key := MakeKey(d, in); key != base {
		t.Error("the key depends on a size")
	}
	in[0], in[1] = in[1], in[0]
	if key := MakeKey(d, in); key != base || in[0].Port != "tokens" {
		t.Error("the key depends on the order of inputs, or they were moved")
	}
}

func drawValue(t *rapid.T, depth int) Value {
	switch kind := rapid.IntRange(0, 7).Draw(t, "kind"); {
	case kind == 0:
		return nil
	case kind == 1:
		return rapid.Bool().Draw(t, "b")
	case kind == 2:
		return rapid.Int64().Draw(t, "i")
	case kind == 3:
		return rapid.Float64Range(-1e9, 1e9).Draw(t, "d") + 0
	case kind == 4:
		return rapid.String().Draw(t, "s")
	case kind == 5 || depth > 3:
		return manifest.Sum([]byte(rapid.String().Draw(t, "h")))
	case kind == 6:
		list := make([]Value, rapid.IntRange(0, 3).Draw(t, "n"))
		for i := range list {
			list[i] = drawValue(t, depth+1)
		}
		return list
	}
	m := map[string]Value{}
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		m[rapid.String().Draw(t, "k")] = drawValue(t, depth+1)
	}
	return m
}

func TestEncodingRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(t, 0)
		b := AppendValue(nil, v)
		back, err := ParseValue(b)
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Fatalf("got %v (%v), want %v", back, err, v)
		}
	})
}

func FuzzParseValue(f *testing.F) {
	pre := Preimage(exampleAction())
	f.Add(pre)
	f.Add([]byte("m\x00\x00\x00\x01\x00\x00\x00\x01an"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := ParseValue(b); err == nil && !bytes.Equal(AppendValue(nil, v), b) {
			t.Fatalf("%x has another form", b)
		}
	})
}
