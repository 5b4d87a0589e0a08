package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pipe/cache"
	"pipe/internal/document"
	"pipe/internal/stagename"
	"pipe/pipeline/runner"
)

type getCommand struct {
	storeFlag
	Output string `arg:"" name:"stage.port" help:"An output of the last run."`
	Dir    string `arg:"" optional:"" help:"Where to put it: a folder becomes DIR itself, a file the file DIR. Without it the place in the store is printed."`
}

// Run is called by kong.
func (c *getCommand) Run(a *app) error {
	stage, port, ok := stagename.SplitOutput(c.Output)
	if !ok || port == "" {
		return usageError{fmt.Errorf("%q must be STAGE.PORT", c.Output)}
	}
	store, err := c.theStore()
	if err != nil {
		return err
	}
	o, err := findOutput(store, stage, port)
	if err != nil {
		return err
	}
	if err := store.Verify(o); err != nil {
		return fmt.Errorf("%s: %w (the next run makes it again)", c.Output, err)
	}
	if c.Dir == "" {
		return a.printPlace(store, o)
	}
	return copyOut(store, o, c.Dir)
}

// findOutput returns an output of the newest run that has the stage.
func findOutput(store *cache.Store, selector, port string) (cache.Object, error) {
	past, stage, err := findStage(store, selector)
	if err != nil {
		return cache.Object{}, err
	}
	for _, e := range slices.Backward(past.Events) {
		if e.Type != "stage_end" || e.Stage != stage {
			continue
		}
		if e.Outcome != runner.Ran && e.Outcome != runner.Cached {
			return cache.Object{}, fmt.Errorf("stage %q %s in the last run (%s)", stage, e.Outcome, past.ID)
		}
		o, ok := e.Outputs[port]
		if ok {
			return o, nil
		}
		if e.Withheld != "" {
			return o, fmt.Errorf("stage %q made no output %q: %s", stage, port, e.Withheld)
		}
		var names []string
		for name := range e.Outputs {
			names = append(names, name)
		}
		slices.Sort(names)
		return o, usageError{fmt.Errorf("stage %q has no output %q (%s)", stage, port, document.Suggest(port, names))}
	}
	panic("internal error: a run lost its stage")
}

// printPlace prints where an object lies in the store: of a folder, its manifest.
func (a *app) printPlace(store *cache.Store, o cache.Object) error {
	_, err := fmt.Fprintln(a.stdout, store.BlobPath(o.Digest))
	return err
}

// copyOut puts an object at path. For a folder, an empty one may be there.
func copyOut(store *cache.Store, o cache.Object, path string) error {
	path = filepath.Clean(path)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return store.Place(o, path)
	case err != nil:
		return err
	case !info.IsDir() || o.Kind == cache.File:
		return usageError{fmt.Errorf("%s is there already", path)}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return usageError{fmt.Errorf("%s is there already and is not empty", path)}
	}
	return fill(store, o, path)
}

// fill puts the content of a folder into one that is there, which may be the
// working directory and so cannot be replaced.
func fill(store *cache.Store, o cache.Object, dir string) error {
	fresh := filepath.Join(dir, ".pipe-get")
	if err := store.Place(o, fresh); err != nil {
		return err
	}
	entries, err := os.ReadDir(fresh)
	for _, e := range entries {
		err = errors.Join(err, os.Rename(filepath.Join(fresh, e.Name()), filepath.Join(dir, e.Name())))
	}
	return errors.Join(err, os.Remove(fresh))
}
