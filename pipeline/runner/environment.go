package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"pipe/cache"
	"pipe/internal/problem"
	"pipe/internal/program"
	"pipe/internal/redact"
	"pipe/pipeline"
)

// environment is what a step declares of the world outside, as it was found.
type environment struct {
	vars    map[string]string // env: and secrets: that are set, for the programs
	secrets map[string]string // those of vars that are secret, without space around them

	env         map[string]cache.Value // for the key
	secretNames []string
	tools       map[string]cache.Pin // by name
}

// addTo adds to a description what of the environment belongs to the key: of
// secrets only their names.
func (e environment) addTo(d *cache.Description) {
	d.Env, d.Secrets = e.env, e.secretNames
	for name, pin := range e.tools {
		if d.Tools == nil {
			d.Tools = map[string]cache.Value{}
		}
		d.Tools[name] = pin.Object.Digest
	}
}

func (r *Runner) lookupEnv(name string) (string, bool) {
	if r.LookupEnv != nil {
		return r.LookupEnv(name)
	}
	return os.LookupEnv(name)
}

// secret looks a secret up. An optional one that is empty counts as unset, because
// that is how CI systems hand over what they withhold.
func (r *Runner) secret(v pipeline.Variable) (string, bool) {
	value, set := r.lookupEnv(v.Name)
	if v.Optional && value == "" {
		return "", false
	}
	return value, set
}

// mask hides the secrets that any stage of the plan declares, run or not: nil if there
// are none.
func (r *Runner) mask() *redact.Mask {
	r.maskOnce.Do(func() {
		var values []string
		for _, s := range r.Plan.Steps {
			for _, v := range s.Secrets {
				if value, set := r.secret(v); set {
					values = append(values, value)
				}
			}
		}
		r.masked = redact.New(values)
	})
	return r.masked
}

// environment looks up what a step declares.
func (r *Runner) environment(ctx context.Context, s *pipeline.Step) (environment, error) {
	if len(s.Env)+len(s.Secrets)+len(s.Tools) == 0 {
		return environment{}, nil
	}
	e := environment{vars: map[string]string{}, secrets: map[string]string{}, env: map[string]cache.Value{}, tools: map[string]cache.Pin{}}
	for _, v := range s.Env {
		value, set := r.lookupEnv(v.Name)
		switch {
		case set:
			e.vars[v.Name], e.env[v.Name] = value, value
		case v.Optional:
			e.env[v.Name] = nil
		default:
			return e, fmt.Errorf("the environment variable %s is not set", v.Name)
		}
	}
	for _, v := range s.Secrets {
		e.secretNames = append(e.secretNames, v.Name)
		value, set := r.secret(v)
		if set {
			if err := redact.Check(value); err != nil {
				return e, fmt.Errorf("the value of the secret %s cannot be hidden: %w", v.Name, err)
			}
			e.vars[v.Name], e.secrets[v.Name] = value, strings.TrimSpace(value)
		} else if !v.Optional {
			return e, fmt.Errorf("the environment variable %s is not set", v.Name)
		}
	}
	slices.Sort(e.secretNames)
	for _, t := range s.Tools {
		pin, err := r.pinTool(ctx, t.Name)
		if err != nil {
			return e, fmt.Errorf("tool %s: %w", t.Name, err)
		}
		e.tools[t.Name] = pin
	}
	return e, nil
}

// findTool returns the file that a program's name stands for on PATH.
func (r *Runner) findTool(name string) (string, error) {
	path, _ := r.lookupEnv("PATH")
	file, err := program.Find(name, path)
	if errors.Is(err, exec.ErrNotFound) {
		err = errors.New("there is no such program on PATH")
	}
	return file, err
}

// pinTool finds the content of a program's file, once a run.
func (r *Runner) pinTool(ctx context.Context, name string) (cache.Pin, error) {
	path, err := r.findTool(name)
	if err != nil {
		return cache.Pin{}, err
	}
	r.pinMu.Lock()
	known, ok := r.tools[path]
	r.pinMu.Unlock()
	if ok {
		return known, nil
	}
	pin, err := r.Store.PinPath(ctx, path, nil)
	if err != nil {
		return pin, err
	}
	r.pinMu.Lock()
	defer r.pinMu.Unlock()
	if r.tools == nil {
		r.tools = map[string]cache.Pin{}
	}
	if known, ok := r.tools[path]; ok {
		return known, nil
	}
	r.tools[path] = pin
	return pin, nil
}

// checkTools fails the stage if a tool is no longer what its key says.
func (a *attempt) checkTools(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(a.world.tools)) {
		path, err := a.runner.Store.Changed(ctx, a.world.tools[name])
		if err != nil {
			return err
		}
		if path != "" {
			return fmt.Errorf("tool %s (%s) changed while running", name, path)
		}
	}
	return nil
}

// checkEnvironments finds, before anything runs, what steps declare and this process
// lacks, and secrets that would become part of a key.
func (r *Runner) checkEnvironments(steps []*pipeline.Step) problem.List {
	var problems problem.List
	secrets := map[string]string{} // value to name
	for _, s := range steps {
		for _, v := range s.Env {
			if _, set := r.lookupEnv(v.Name); !set && !v.Optional {
				problems.Add(v.At().Problem("stage %q: env: %s is not set", s.Name, v.Name).WithHint("set it, or write %s? if the stage can do without", v.Name))
			}
		}
		for _, v := range s.Secrets {
			value, set := r.secret(v)
			if set {
				if err := redact.Check(value); err != nil {
					problems.Add(v.At().Problem("stage %q: secrets: the value of %s cannot be hidden: %v", s.Name, v.Name, err).
						WithHint("use a longer secret; if it is none, declare it under env"))
					continue
				}
				secrets[strings.TrimSpace(value)] = v.Name
			} else if !v.Optional {
				problems.Add(v.At().Problem("stage %q: secrets: %s is not set", s.Name, v.Name).WithHint("set it, or write %s? if the stage can do without", v.Name))
			}
		}
		for _, t := range s.Tools {
			if _, err := r.findTool(t.Name); err != nil {
				problems.Add(t.At().Problem("stage %q: tools: %s: %v", s.Name, t.Name, err).WithHint("install it, or put its folder on PATH"))
			}
		}
	}
	for _, s := range steps {
		problems = append(problems, r.keyedSecrets(s, secrets)...)
	}
	return problems
}

// keyedSecrets finds secrets, by value, in what becomes part of a step's key.
func (r *Runner) keyedSecrets(s *pipeline.Step, secrets map[string]string) problem.List {
	var problems problem.List
	if len(secrets) == 0 {
		return nil
	}
	params := cache.AppendValue(nil, s.Params.Key())
	for _, secret := range slices.Sorted(maps.Keys(secrets)) {
		name := secrets[secret]
		if bytes.Contains(params, []byte(secret)) {
			problems.Add(s.At().Problem("stage %q: a parameter holds the value of the secret %s, and would put it into the key", s.Name, name).
				WithHint("the program finds it in $%s", name))
		}
		for _, v := range s.Env {
			if value, _ := r.lookupEnv(v.Name); bytes.Contains([]byte(value), []byte(secret)) {
				problems.Add(v.At().Problem("stage %q: env: %s holds the value of the secret %s, and would put it into the key", s.Name, v.Name, name).
					WithHint("declare it under secrets"))
			}
		}
	}
	return problems
}
