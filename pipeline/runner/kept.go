package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pipe/cache"
	"pipe/pipeline"
	"pipe/stages"
)

// keptAttempt is the folder of an attempt that failed, and how to do again what the
// stage did there.
type keptAttempt struct {
	dir     string // "" if it does not stay
	release func()
	started *startedProgram // what the stage started last
}

// startedProgram is what Env.Reproduce tells.
type startedProgram struct {
	dir        string
	vars, argv []string
}

// leave ends an attempt's use of its folder: it is removed, unless the stage failed
// and somebody wants to look into it.
func (a *attempt) leave(err error, release func()) {
	if a.keeps(err) {
		a.kept.dir, a.kept.release = a.dir, release
		return
	}
	a.unlinkInputs()
	release()
}

// drop removes the folder of an attempt that another one follows.
func (a *attempt) drop() {
	if a.kept.dir != "" {
		a.unlinkInputs()
		a.kept.release()
		a.kept.dir = ""
	}
}

// keeps says whether the folder of an attempt that ended with err stays: what failed
// in the stage's own code, or in what it made.
func (a *attempt) keeps(err error) bool {
	var own *stageFailure
	return a.runner.KeepFailed && errors.As(err, &own) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, stages.ErrStopped)
}

// keep lets the folder of the last attempt, if it failed, stay: it says where that is, and
// how to do it again.
func (a *attempt) keep() {
	if a.kept.dir == "" {
		return
	}
	inputs := map[string]cache.Object{}
	for _, b := range a.inputs {
		if b.pin == nil {
			inputs[filepath.Join(a.dir, "in", b.input.Port.Name)] = b.content.Object
		}
	}
	if a.runner.Store.KeepAttempt(a.dir, inputs) != nil {
		a.drop()
		return
	}
	command := a.runner.again(a.step.Name)
	if a.kept.started != nil {
		path := filepath.Join(a.dir, againName)
		if os.WriteFile(path, []byte(a.runner.mask().Text(a.againScript())), 0o700) == nil {
			command = "sh " + shellQuote(path)
		}
	}
	e := Event{Type: "attempt_kept", Stage: a.step.Name, Key: a.key.String(), Dir: a.dir, Command: command}
	if len(a.world.secrets) > 0 {
		e.Why = "what the stage wrote there may hold its secrets (" + strings.Join(slices.Sorted(maps.Keys(a.world.secrets)), ", ") + ")"
	}
	a.runner.emit(e)
}

// againName is the script, in a kept folder, that starts what failed there.
const againName = "again.sh"

// reproduce is Env.Reproduce.
func (k *keptAttempt) reproduce(dir string, vars, argv []string) {
	k.started = &startedProgram{dir: dir, vars: vars, argv: argv}
}

// againHead begins the script. It finds what the stage found: in its inputs, and nothing else.
const againHead = `#!/bin/sh
# Starts again what failed here. It begins with empty folders: what is in out and scratch
# is moved to out.1 and scratch.1, the next time to out.2 and scratch.2.
set -e
`

const againFolders = `n=1
while [ -e out.$n ] || [ -e scratch.$n ]; do n=$((n + 1)); done
mv out out.$n
mv scratch scratch.$n
mkdir out scratch
`

// againScript starts for a shell what the stage started last. Secrets come from who runs it.
func (a *attempt) againScript() string {
	var head strings.Builder
	head.WriteString(againHead)
	words := []string{"exec", "env", "-i"}
	for _, v := range a.kept.started.vars {
		name, value, _ := strings.Cut(v, "=")
		if _, secret := a.world.secrets[name]; secret {
			fmt.Fprintf(&head, ": \"${%s:?is a secret of the stage, which is kept nowhere: set it}\"\n", name)
			words = append(words, name+`="$`+name+`"`)
		} else {
			words = append(words, name+"="+shellQuote(value))
		}
	}
	for _, arg := range a.kept.started.argv {
		words = append(words, shellQuote(arg))
	}
	return head.String() + "cd " + shellQuote(a.dir) + "\n" + againFolders + "cd " + shellQuote(a.kept.started.dir) + "\n" + strings.Join(words, " ") + "\n"
}

// again is a line that runs one stage of this run again.
func (r *Runner) again(stage string) string {
	dir := r.Dir
	if dir == "" {
		dir = "."
	}
	words := []string{stage, "--keep-failed", "--store", r.Store.Dir()}
	if r.CheckCache {
		words = append(words, "--check-cache")
	}
	return "cd " + shellQuote(dir) + " && " + r.runLine(words...)
}

// runLine is a command line that runs the plan: with such words, its profile and what was set.
func (r *Runner) runLine(words ...string) string {
	words = append([]string{"pipe", "run", r.Plan.File}, words...)
	if r.Plan.Profile != pipeline.DefaultProfile {
		words = append(words, "--profile", r.Plan.Profile)
	}
	for _, set := range r.Plan.Set {
		words = append(words, "--set", set)
	}
	for i, w := range words {
		words[i] = shellQuote(w)
	}
	return strings.Join(words, " ")
}

// shellQuote is a word as a shell reads it.
func shellQuote(word string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("%+,-./:=@_", r))
	}
	if word != "" && strings.IndexFunc(word, special) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// there says whether something is at a path, be it a link that leads nowhere.
func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
