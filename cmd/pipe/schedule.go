package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pipe/internal/atomicfile"
	"pipe/internal/cron"
	"pipe/internal/schedule"
	"pipe/pipeline"
)

type scheduleCommand struct {
	storeFlag
	File  string `arg:"" help:"The pipeline file."`
	Every string `required:"" help:"When, as a cron expression: minute, hour, day of the month, month, day of the week." placeholder:"\"0 3 * * *\""`
	For   string `required:"" enum:"systemd,cron,github,gitlab" help:"The scheduler: systemd, cron, github or gitlab." placeholder:"SCHEDULER"`
	profileFlag
	Binary string `help:"The pipe to run; this one by default." placeholder:"PATH"`
	Write  string `help:"Write the files into a folder instead of printing them." placeholder:"DIR"`
}

// Run is called by kong.
func (c *scheduleCommand) Run(a *app) error {
	every, err := cron.Parse("--every", c.Every)
	if err != nil {
		return usageError{err}
	}
	plan, err := a.resolve(c.File, c.profile(), nil)
	if err != nil {
		return err
	}
	job, err := c.job(plan, every)
	if err != nil {
		return usageError{err}
	}
	files, err := job.Files(c.For)
	if err != nil {
		return usageError{err}
	}
	if c.Write == "" {
		for i, f := range files {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			a.stdout.Write(f.Text)
		}
		return nil
	}
	if err := c.write(a, files); err != nil {
		return err
	}
	return c.firings(a, every)
}

// job gathers what the files must name: this machine's paths and the plan's.
func (c *scheduleCommand) job(plan *pipeline.Plan, every *cron.Expression) (*schedule.Job, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	binary, err := c.binary()
	if err != nil {
		return nil, err
	}
	file, err := filepath.Abs(plan.File)
	if err != nil {
		return nil, err
	}
	store, err := filepath.Abs(c.Store)
	if err != nil {
		return nil, err
	}
	job := &schedule.Job{Pipeline: plan.Name, Profile: plan.Profile, Every: every, Binary: binary, Dir: dir, File: file, Store: store,
		Path: os.Getenv("PATH"), Home: home, Root: repository(dir)}
	job.Source = isOwnSource(job.Root)
	job.Variables, job.Tools = declared(plan)
	seen := map[string]bool{}
	for _, s := range plan.Steps {
		for _, in := range s.Inputs {
			if !in.IsSource() || pipeline.HasScheme(in.Source) || seen[in.Source] {
				continue
			}
			seen[in.Source] = true
			path, _ := filepath.Abs(in.Source) // Getwd has worked
			info, err := os.Stat(path)
			job.Inputs = append(job.Inputs, schedule.Input{Path: path, Folder: err == nil && info.IsDir()})
		}
		for _, p := range s.Publish {
			path, _ := filepath.Abs(p.To)
			o, _ := s.Output(p.Port)
			job.Published = append(job.Published, schedule.Published{Path: path, Folder: o.Folder || s.Kind.Open})
		}
	}
	return job, nil
}

// declared gathers what the stages declare of the world outside, sorted. What is secret
// to one is to all, and what one cannot do without is needed.
func declared(plan *pipeline.Plan) (variables []schedule.Variable, tools []string) {
	byName := map[string]schedule.Variable{}
	add := func(list []pipeline.Variable, secret bool) {
		for _, v := range list {
			old, known := byName[v.Name]
			byName[v.Name] = schedule.Variable{Name: v.Name, Secret: secret || old.Secret, Optional: v.Optional && (old.Optional || !known)}
		}
	}
	for _, s := range plan.Steps {
		add(s.Env, false)
		add(s.Secrets, true)
		for _, t := range s.Tools {
			tools = append(tools, t.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		variables = append(variables, byName[name])
	}
	slices.Sort(tools)
	return variables, slices.Compact(tools)
}

// binary is the program that the scheduler is to start. What go run made is gone
// when go run ends; a scheduler with clones of a repository looks for its own.
func (c *scheduleCommand) binary() (string, error) {
	if c.Binary != "" {
		path, err := filepath.Abs(c.Binary)
		if err == nil {
			_, err = os.Stat(path)
		}
		return path, err
	}
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(path, os.TempDir()) && strings.Contains(path, "go-build") && (c.For == "systemd" || c.For == "cron") {
		return "", errors.New("this pipe was made by go run and is gone in a moment: build one (make build) and use that, or name it: --binary bin/pipe")
	}
	return path, nil
}

// repository is the root of the git repository that dir is in, or dir.
func repository(dir string) string {
	for root := dir; ; root = filepath.Dir(root) {
		if _, err := os.Lstat(filepath.Join(root, ".git")); err == nil {
			return root
		}
		if root == filepath.Dir(root) {
			return dir
		}
	}
}

// isOwnSource says whether a repository is the one that pipe is built from.
func isOwnSource(root string) bool {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	_, err2 := os.Stat(filepath.Join(root, "cmd", "pipe", "main.go"))
	return err == nil && err2 == nil && bytes.HasPrefix(mod, []byte("module pipe\n"))
}

// write puts the files into the folder. What is there already is replaced only if
// this command wrote it.
func (c *scheduleCommand) write(a *app, files []schedule.File) error {
	for _, f := range files {
		path := filepath.Join(c.Write, f.Name)
		old, err := os.ReadFile(path)
		first, _, _ := bytes.Cut(old, []byte("\n"))
		if err == nil && !bytes.Contains(first, []byte(schedule.Mark)) {
			return usageError{fmt.Errorf("%s is there already, and pipe schedule did not make it", path)}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.MkdirAll(c.Write, 0o777); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(c.Write, f.Name)
		if err := atomicfile.Write(path, f.Text, 0o666); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "wrote %s\n", path)
	}
	fmt.Fprintf(a.stdout, "How to put it in place is said at the top of %s.\n", files[0].Name)
	return nil
}

// firings says when the job will run, as a check on the expression.
func (c *scheduleCommand) firings(a *app, every *cron.Expression) error {
	at := time.Now()
	if c.For == "github" || c.For == "gitlab" {
		at = at.UTC()
	}
	var texts []string
	for range 3 {
		at = every.Next(at)
		texts = append(texts, at.Format("Mon 2006-01-02 15:04 MST"))
	}
	_, err := fmt.Fprintf(a.stdout, "It runs next at %s.\n", strings.Join(texts, ", "))
	return err
}
