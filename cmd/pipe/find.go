package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"pipe/cache"
	"pipe/internal/stagename"
	"pipe/pipeline"
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

// runBefore returns the newest run before one of the same pipeline and profile: one of the
// same folder, if there is any.
func runBefore(store *cache.Store, of *runner.Past) (*runner.Past, error) {
	var found *runner.Past
	older := false
	err := runner.EachPast(store, func(p *runner.Past) bool {
		if older && p.Start.Pipeline == of.Start.Pipeline && p.Start.Profile == of.Start.Profile && (found == nil || p.Start.Dir == of.Start.Dir) {
			found = p
		}
		older = older || p.ID == of.ID
		return found == nil || found.Start.Dir != of.Start.Dir
	})
	if err == nil && found == nil {
		err = usageError{fmt.Errorf("run %s is the first of %s (%s) in the store %s: name the run to compare it with", of.ID, of.Start.Pipeline, of.Start.Profile, store.Dir())}
	}
	return found, err
}

// findStage returns the newest run that has the stage that a selector chooses, and the
// stage's name.
func findStage(store *cache.Store, selector string) (*runner.Past, string, error) {
	past, err := lastRun(store, func(p *runner.Past) bool { return len(stagesOf(p, selector)) > 0 })
	if err != nil {
		return nil, "", usageError{fmt.Errorf("no run in the store %s has a stage %q", store.Dir(), selector)}
	}
	name, err := onlyOne(selector, stagesOf(past, selector))
	return past, name, err
}

// stagesOf lists the stages of a run that a selector chooses.
func stagesOf(p *runner.Past, selector string) []string {
	sel, err := stagename.Parse(selector)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range p.Events {
		if e.Type == "stage_end" && (e.Stage == selector || sel.Matches(e.Stage)) && !slices.Contains(names, e.Stage) {
			names = append(names, e.Stage)
		}
	}
	slices.Sort(names)
	return names
}

// onlyOne returns the one stage that a selector chooses, where one is wanted.
func onlyOne(selector string, names []string) (string, error) {
	const most = 6
	if len(names) == 1 {
		return names[0], nil
	}
	list := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		list += fmt.Sprintf(", and %d more", len(names)-most)
	}
	return "", usageError{fmt.Errorf("%q is %d stages, and one is wanted: %s", selector, len(names), list)}
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

// selectOne returns the name of the one stage of a plan that a selector chooses.
func selectOne(plan *pipeline.Plan, selector string) (string, error) {
	steps, err := plan.Select(selector)
	if err != nil {
		text := fmt.Sprintf("%s: %v", plan.File, err)
		if wrong := (*pipeline.SelectError)(nil); errors.As(err, &wrong) {
			text += " (" + wrong.Hint + ")"
		}
		return "", usageError{errors.New(text)}
	}
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.Name
	}
	return onlyOne(selector, names)
}
