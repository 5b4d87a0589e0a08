package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pipe/cache"
)

var sources = Sources{Builtin: map[string]fs.FS{"tiny": fstest.MapFS{
	"config.json": {Data: []byte("{}")}, "tokenizer.model": {Data: []byte("t")}, "README.md": {Data: []byte("r")},
}}}

func open(t *testing.T) *cache.Store {
	t.Helper()
	s, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBuiltinAndFolderOfEqualContentHaveOneDigest(t *testing.T) {
	store, ctx, dir := open(t), context.Background(), t.TempDir()
	os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o666)
	os.WriteFile(filepath.Join(dir, "tokenizer.model"), []byte("t"), 0o666)
	os.WriteFile(filepath.Join(dir, "notes"), []byte("not read"), 0o666)
	os.Mkdir(filepath.Join(dir, "tokenizer.d"), 0o777)
	patterns := []string{"config.json", "tokenizer*"}
	a, err := sources.Pin(ctx, store, "builtin:tiny", patterns, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := sources.Pin(ctx, store, dir, patterns, true)
	if err != nil {
		t.Fatal(err)
	}
	if a.Object != b.Object || a.Reference != "builtin:tiny" || b.Reference != "" {
		t.Errorf("got %+v and %+v", a.Object, b.Object)
	}
	for name, pin := range map[string]Pin{"builtin": a, "folder": b} {
		at := filepath.Join(t.TempDir(), "in")
		if err := pin.Fetch(at); err != nil {
			t.Fatal(err)
		}
		entries, _ := os.ReadDir(at)
		if len(entries) != 2 {
			t.Errorf("%s: fetched %v", name, entries)
		}
		if b, err := os.ReadFile(filepath.Join(at, "tokenizer.model")); err != nil || string(b) != "t" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
}

func TestCheckSaysWhatWouldBeRight(t *testing.T) {
	for ref, want := range map[string]string{
		"builtin:tin":                     `did you mean "tiny"`,
		"hf:org/model@main":               "pass the folder instead",
		"s3:bucket":                       "known are paths and builtin:",
		"no/such/path":                    "there is no file or folder",
		filepath.Join("/", "dev", "null"): "neither a file nor a folder",
	} {
		var e *Error
		if err := sources.Check(ref); !errors.As(err, &e) || !strings.Contains(e.Message+e.Hint, want) {
			t.Errorf("%s: got %v, want %s", ref, err, want)
		}
	}
	if err := sources.Check(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestChangedSeesAnEditOfAChosenFile(t *testing.T) {
	store, ctx, dir := open(t), context.Background(), t.TempDir()
	os.WriteFile(filepath.Join(dir, "a.txt"), []byte("1"), 0o666)
	pin, err := sources.Pin(ctx, store, dir, []string{"*.txt"}, false)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "other"), []byte("1"), 0o666)
	if got, err := pin.Changed(ctx, store); err != nil || got != "" {
		t.Errorf("another file: got %q, %v", got, err)
	}
	os.WriteFile(filepath.Join(dir, "a.txt"), []byte("2"), 0o666)
	if got, err := pin.Changed(ctx, store); err != nil || got != filepath.Join(dir, "a.txt") {
		t.Errorf("an edit: got %q, %v", got, err)
	}
}

func TestFolderWithNoneOfTheFilesIsRefused(t *testing.T) {
	if _, err := sources.Pin(context.Background(), open(t), t.TempDir(), []string{"config.json"}, false); err == nil || !strings.Contains(err.Error(), "none of the files config.json") {
		t.Errorf("got %v", err)
	}
}
