package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pipe/data"
	"pipe/internal/atomicfile"
	"pipe/pipelines"
)

type initCommand struct {
	Dir string `arg:"" optional:"" default:"." help:"The folder; the working directory by default."`
}

// Run is called by kong. A file that is there already stays as it is; if one differs
// from what would be written, nothing is written at all.
func (c *initCommand) Run(a *app) error {
	schema, err := a.kinds.JSONSchema()
	if err != nil {
		return err
	}
	files := []struct {
		name string
		text []byte
	}{
		{"pipelines/mistral-behaviors.yaml", pipelines.MistralBehaviors},
		{"data/custom_behaviors.jsonl", data.Behaviors},
		{"data/sanity.yaml", data.Suite},
		{"docs/pipe.schema.json", schema},
	}
	var differ []error
	for _, f := range files {
		have, err := os.ReadFile(filepath.Join(c.Dir, f.name))
		if err == nil && string(have) != string(f.text) {
			differ = append(differ, fmt.Errorf("%s is there already, with other content", filepath.Join(c.Dir, f.name)))
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			differ = append(differ, err)
		}
	}
	if len(differ) > 0 {
		return usageError{errors.Join(differ...)}
	}
	for _, f := range files {
		path := filepath.Join(c.Dir, f.name)
		if _, err := os.Stat(path); err == nil {
			fmt.Fprintln(a.stdout, "kept", path)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := atomicfile.Write(path, f.text, 0o666); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, "wrote", path)
	}
	fmt.Fprintf(a.stdout, "Next: pipe run %s\n", filepath.Join(c.Dir, files[0].name))
	return nil
}
