package program

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestRelativeFoldersOfPathArePassedOver(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, sub := range []string{"near", "far"} {
		if err := os.Mkdir(sub, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "tool"), []byte("#!/bin/sh\n"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	far := filepath.Join(dir, "far")
	for _, c := range []struct{ name, path, want string }{
		{"tool", "near" + string(os.PathListSeparator) + far, filepath.Join(far, "tool")},
		{"tool", "near", ""},
		{"tool", "", ""},
		{filepath.Join(far, "tool"), "near", filepath.Join(far, "tool")},
	} {
		got, err := Find(c.name, c.path)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("%s on %s: got %q, %v, want %q", c.name, c.path, got, err, c.want)
		}
	}
}
