package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pipe/cache"
	"pipe/pipeline/runner"
)

type rollbackCommand struct {
	storeFlag
	First  string `arg:"" optional:"" name:"file" help:"The pipeline file, if it ends in .yaml or .yml; that of the newest run by default."`
	Second string `arg:"" optional:"" name:"n" help:"How many published versions to go back; 1 by default."`
	profileFlag
	At string `help:"The place, if the pipeline publishes several folders." placeholder:"PATH"`
}

// Run is called by kong.
func (c *rollbackCommand) Run(a *app) error {
	file, steps, err := c.arguments()
	if err != nil {
		return err
	}
	store, err := c.theStore()
	if err != nil {
		return err
	}
	places, err := c.places(a, store, file)
	if err != nil {
		return err
	}
	to, err := c.choose(places)
	if err != nil {
		return err
	}
	done, err := runner.Rollback(a.ctx, store, to, steps, time.Now())
	_ = store.Close() // what is known of the files; it can be found again
	if errors.Is(err, runner.ErrNoVersion) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	score := ""
	if done.Score != nil {
		score = fmt.Sprintf(", score %.4g", *done.Score)
	}
	fmt.Fprintf(a.stdout, "%s is %.12s again, of %s%s\n", done.To, done.Digest, done.Published.Local().Format("2006-01-02 15:04:05"), score)
	if done.From != "" {
		fmt.Fprintf(a.stdout, "%.12s stays out until something else is published, or by: pipe run --promote\n", done.From)
	}
	return nil
}

// arguments splits file and number.
func (c *rollbackCommand) arguments() (file string, steps int, err error) {
	number := c.Second
	switch {
	case isPipelineFile(c.First):
		file = c.First
	case c.Second != "":
		return "", 0, usageError{fmt.Errorf("%s is no pipeline file: it must end in .yaml or .yml", c.First)}
	default:
		number = c.First
	}
	if number == "" {
		return file, 1, nil
	}
	if steps, err = strconv.Atoi(number); err != nil || steps < 1 {
		return "", 0, usageError{fmt.Errorf("how many versions to go back must be a whole number from 1, got %q", number)}
	}
	return file, steps, nil
}

// places lists where the pipeline publishes folders: as the file says, or without
// one as the newest run did that published any.
func (c *rollbackCommand) places(a *app, store *cache.Store, file string) ([]string, error) {
	if file != "" {
		plan, err := a.resolve(file, c.profile(), nil)
		if err != nil {
			return nil, err
		}
		var places []string
		for _, s := range plan.Steps {
			for _, p := range s.Publish {
				places = append(places, p.To)
			}
		}
		return keepVersioned(places), nil
	}
	last, err := lastRun(store, func(p *runner.Past) bool {
		return (c.profile() == "" || p.Start.Profile == c.profile()) && len(placesOf(p)) > 0
	})
	if err != nil {
		return nil, usageError{fmt.Errorf("no run in the store %s has published a folder", store.Dir())}
	}
	return placesOf(last), nil
}

// placesOf lists the folders that a run published or would have.
func placesOf(past *runner.Past) []string {
	var places []string
	for _, e := range past.Events {
		if e.Type == "publish" {
			places = append(places, relativeTo(past.Start.Dir, e.To))
		}
	}
	return keepVersioned(places)
}

// relativeTo is a path of a run in dir, as it is written in the working directory.
func relativeTo(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	here, err := os.Getwd()
	if err != nil || here == dir {
		return path
	}
	return filepath.Join(dir, path)
}

// keepVersioned keeps the places that have had versions.
func keepVersioned(places []string) []string {
	return slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(places))), func(to string) bool {
		_, err := os.Stat(runner.LedgerOf(to))
		return errors.Is(err, fs.ErrNotExist)
	})
}

// choose returns the one place that is meant.
func (c *rollbackCommand) choose(places []string) (string, error) {
	if c.At != "" {
		for _, to := range places {
			if filepath.Clean(c.At) == to {
				return to, nil
			}
		}
	}
	switch {
	case len(places) == 0:
		return "", usageError{errors.New("the pipeline has published no folder yet")}
	case c.At != "":
		return "", usageError{fmt.Errorf("no folder is published at %s: there are %s", c.At, strings.Join(places, ", "))}
	case len(places) > 1:
		return "", usageError{fmt.Errorf("the pipeline publishes several folders, %s: name one with --at", strings.Join(places, ", "))}
	}
	return places[0], nil
}
