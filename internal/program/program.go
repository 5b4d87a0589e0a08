// Package program finds programs as a stage sees them.
package program

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// Find returns the file that a program's name stands for on path, a list of folders as in PATH.
// Relative folders in it are passed over: they lead nowhere from a stage's private folder. A name
// with a slash is a path and stands for itself. The error, if there is no such program
// that could be run, wraps exec.ErrNotFound or that of the file system.
func Find(name, path string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) || strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if file, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return file, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
