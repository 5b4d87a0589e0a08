// Package golden finds the files that tests compare with, and compares.
//
// There are two kinds. The project's golden sets (folders nf4, tokenizer and
// model) hold what other programs computed; Path finds a file of them. A golden
// file of a package is what the package itself wrote, read once by a person;
// Compare holds a result to it.
//
// Only tests import this package.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/linediff"
)

var update = flag.Bool("update", false, "rewrite golden files instead of comparing with them")

// Update says whether the test was started with -update.
func Update() bool { return *update }

// Env names the folder that golden sets are taken from, laid out like the
// shared one: nf4/, tokenizer/, model/. With it set, a golden that is found
// nowhere fails the test; without it, the test is skipped.
const Env = "PIPE_GOLDENS"

// Path returns the path of a file or folder of the golden sets, such as
// "nf4/cases.json". It looks in $PIPE_GOLDENS, where a relative path counts from
// the repository root, then in ../shared/goldens beside the repository, then
// among the copies in this repository; without $PIPE_GOLDENS the copies come
// first. It skips or fails the test if the file is in none of them.
func Path(t testing.TB, name string) string {
	t.Helper()
	root := Root(t)
	shared := filepath.Join(root, "..", "shared", "goldens")
	copies := filepath.Join(root, "internal", "golden", "testdata")
	folders := []string{copies, shared}
	given := os.Getenv(Env)
	if given != "" {
		if !filepath.IsAbs(given) {
			given = filepath.Join(root, given)
		}
		folders = []string{given, shared, copies}
	}
	for _, folder := range folders {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if given != "" {
		t.Fatalf("golden %s is in none of %s", name, strings.Join(folders, ", "))
	}
	t.Skipf("golden %s is not here: it is kept out of the repository; looked in %s; set %s to a folder that holds it",
		name, strings.Join(folders, ", "), Env)
	return ""
}

// Read returns the bytes of a file of the golden sets, found as Path finds it.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Lines returns the lines of a file of the golden sets, cut at \n alone, without
// the empty one at the end. JSON lines may hold U+2028 and its kin.
func Lines(t testing.TB, name string) [][]byte {
	t.Helper()
	lines := bytes.Split(Read(t, name), []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// Compare holds got to the file testdata/name of the package under test, and
// fails the test with a line diff if they differ. With -update it writes the file.
func Compare(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (- want, + got; go test -update accepts it):\n%s", path, Diff(string(want), string(got)))
	}
}

// Root returns the repository's root: the folder with go.mod, at or above the
// one that the test runs in.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod above the test's folder")
		}
		folder = parent
	}
}

// Diff returns the lines in which want and got differ; it is empty if they are equal.
func Diff(want, got string) string { return linediff.Diff(want, got) }
