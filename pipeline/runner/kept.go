package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	script  string // what the stage started last, for a shell
}

// leave ends an attempt's use of its folder: it is removed, unless the stage failed
// and somebody wants to look into it.
func (a *attempt) leave(err error, release func()) {
	if a.keeps(err) && cache.KeepAttempt(a.dir) == nil {
		a.kept.dir, a.kept.release = a.dir, release
		return
	}
	a.unlinkInputs()
	release()
}

// keeps says whether the folder of an attempt that ended with err stays: what failed
// in the stage's own code, or in what it made.
func (a *attempt) keeps(err error) bool {
	var own *stageFailure
	return a.runner.KeepFailed && a.against == nil && errors.As(err, &own) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, stages.ErrStopped)
}

// drop removes the folder of an attempt that another one follows.
func (k *keptAttempt) drop() {
	if k.dir != "" {
		k.release()
	}
}

// tell says where the folder is, and how to do it again.
func (k *keptAttempt) tell(a *attempt) {
	if k.dir == "" {
		return
	}
	command := a.runner.again(a.step.Name)
	if k.script != "" {
		path := filepath.Join(k.dir, againName)
		if os.WriteFile(path, []byte(a.runner.mask().Text(k.script)+"\n"), 0o700) == nil {
			command = "sh " + shellQuote(path)
		}
	}
	a.runner.emit(Event{Type: "attempt_kept", Stage: a.step.Name, Key: a.key.String(), Dir: k.dir, Command: command})
}

// againName is the script, in a kept folder, that starts what failed there.
const againName = "again.sh"

// reproduce is Env.Reproduce.
func (k *keptAttempt) reproduce(dir string, vars, argv []string) {
	words := []string{"env", "-i"}
	for _, v := range vars {
		if name, value, given := strings.Cut(v, "="); given {
			words = append(words, name+"="+shellQuote(value))
		} else {
			words = append(words, name+`="$`+name+`"`)
		}
	}
	for _, arg := range argv {
		words = append(words, shellQuote(arg))
	}
	k.script = "cd " + shellQuote(dir) + " && " + strings.Join(words, " ")
}

// again is a line that runs one stage of this run again.
func (r *Runner) again(stage string) string {
	dir := r.Dir
	if dir == "" {
		dir = "."
	}
	return "cd " + shellQuote(dir) + " && " + r.runLine(stage, "--keep-failed", "--store", r.Store.Dir())
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
