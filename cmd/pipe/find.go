package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"pipe/cache"
	"pipe/pipeline/runner"
)

// findRun returns the run of a name: an id, the beginning or end of one, last, or
// last~N, the Nth before it. Of a store that several projects share, last counts the
// runs of this folder, if there are any.
func findRun(store *cache.Store, name string) (*runner.Past, error) {
	if rest, ok := strings.CutPrefix(name, "last"); ok {
		back := 0
		if n, isBack := strings.CutPrefix(rest, "~"); isBack {
			var err error
			if back, err = strconv.Atoi(n); err != nil || back < 0 {
				return nil, usageError{fmt.Errorf("run %q: must be last~N, N a whole number", name)}
			}
			rest = ""
		}
		if rest == "" {
			return nthRun(store, name, back)
		}
	}
	var found []*runner.Past
	err := runner.EachPast(store, func(p *runner.Past) bool {
		if p.ID == name {
			found = []*runner.Past{p}
			return false
		}
		if strings.HasPrefix(p.ID, name) || strings.HasSuffix(p.ID, name) {
			found = append(found, p)
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case name == "" || len(found) == 0:
		return nil, usageError{fmt.Errorf("there is no run %q in the store %s (pipe runs lists them)", name, store.Dir())}
	case len(found) > 1:
		return nil, usageError{fmt.Errorf("%q may be %d runs, %s and %s among them: write more of the id", name, len(found), found[0].ID, found[1].ID)}
	}
	return found[0], nil
}

func nthRun(store *cache.Store, name string, back int) (*runner.Past, error) {
	dir, _ := os.Getwd()
	var here, all []*runner.Past
	err := runner.EachPast(store, func(p *runner.Past) bool {
		all = append(all, p)
		if p.Start.Dir == dir {
			here = append(here, p)
		}
		return len(here) <= back
	})
	if err != nil {
		return nil, err
	}
	if len(here) == 0 {
		here = all
	}
	if back >= len(here) {
		return nil, usageError{fmt.Errorf("there is no run %q: the store %s knows %s", name, store.Dir(), plural(len(here), "run"))}
	}
	return here[back], nil
}
