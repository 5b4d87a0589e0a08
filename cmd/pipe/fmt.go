package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"pipe/internal/atomicfile"
	"pipe/internal/linediff"
	"pipe/pipeline"
)

type fmtCommand struct {
	File  string `arg:"" optional:"" help:"The pipeline file; the only one in pipelines/ by default."`
	Check bool   `help:"Change nothing; exit with 1 if the file is not formatted."`
	Diff  bool   `help:"Change nothing; print what would be changed."`
}

// Run is called by kong.
func (c *fmtCommand) Run(a *app) error {
	if c.File == "" {
		var err error
		if c.File, err = onlyPipeline(); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return usageError{err}
	}
	formatted, err := pipeline.Format(a.kinds, c.File, text)
	if err != nil {
		return usageError{err}
	}
	if bytes.Equal(text, formatted) {
		return nil
	}
	if !c.Check && !c.Diff {
		if err := overwrite(c.File, formatted); err != nil {
			return infrastructureError{err}
		}
	}
	if c.Diff {
		fmt.Fprintf(a.stdout, "--- %s\n+++ %s, formatted\n%s", c.File, c.File, printableText(linediff.Diff(string(text), string(formatted))))
	} else {
		fmt.Fprintln(a.stdout, c.File)
	}
	if c.Check {
		return exitStatus(exitFailed)
	}
	return nil
}

// overwrite replaces a file's content at once. What a link leads to is replaced, and
// the link stays.
func overwrite(path string, text []byte) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(real, text, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Chmod(real, info.Mode().Perm()) // whatever the umask is
}
