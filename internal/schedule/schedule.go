// Package schedule writes what a scheduler needs to run a pipeline unattended:
// units for systemd, lines for a crontab, a workflow for GitHub, a job for GitLab.
//
// Each file is complete: absolute paths and the environment, catching up on what was
// missed, where the log goes and what bounds it, and in its comments how it is put
// in place and what every exit code means there. What a scheduler cannot be told, a
// path that its format has no way to write, is an error.
package schedule

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/template"
	"unicode"

	"pipe/internal/cron"
)

// Job is a pipeline to be run at times. Paths are absolute.
type Job struct {
	Pipeline, Profile string // names: letters, digits, dots, dashes, underscores; + between profiles
	Every             *cron.Expression

	Binary string // pipe itself
	Dir    string // the working directory
	File   string // the pipeline file
	Store  string
	Path   string // PATH, a list
	Home   string

	// What the stages declare of the world outside, each name once.
	Variables []Variable
	Tools     []string // programs: names, looked for on PATH, or paths

	// For schedulers that run what is checked in.
	Root      string      // of the repository
	Source    bool        // the repository is pipe's own: it is built from there
	Inputs    []Input     // what the pipeline reads of the workspace
	Published []Published // what it puts there
}

// Input is a path that a pipeline reads.
type Input struct {
	Path   string
	Folder bool
}

// Published is a path that a pipeline puts an output at. A folder is a link, with
// its versions beside it.
type Published struct {
	Path   string
	Folder bool
}

// Variable is an environment variable that a pipeline declares.
type Variable struct {
	Name     string // letters, digits, underscores
	Secret   bool
	Optional bool // it may be unset
}

// Note is what a comment says of the variable: ", a secret", or nothing.
func (v Variable) Note() string {
	note := ""
	if v.Secret {
		note += ", a secret"
	}
	if v.Optional {
		note += ", may be left out"
	}
	return note
}

// variables are those that somebody has to set: PATH and HOME are in every file.
func (j *Job) variables() []Variable {
	return slices.DeleteFunc(slices.Clone(j.Variables), func(v Variable) bool { return v.Name == "PATH" || v.Name == "HOME" })
}

// DefaultProfile needs no flag.
const DefaultProfile = "default"

// Name names the job in files and units, whose names may hold no +.
func (j *Job) Name() string {
	return fmt.Sprintf("pipe-%s-%s", j.Pipeline, strings.ReplaceAll(j.Profile, "+", "-with-"))
}

// File is a text for a scheduler, under the name that it should have there.
type File struct {
	Name string
	Text []byte
}

// Mark is in the first line of every file, so that it can be written again.
const Mark = "made by pipe schedule"

// Schedulers lists the names that Files takes.
var Schedulers = []string{"systemd", "cron", "github", "gitlab"}

// Files returns the files for one of the Schedulers.
func (j *Job) Files(scheduler string) ([]File, error) {
	texts := append([]string{j.Binary, j.Dir, j.File, j.Store, j.Path, j.Home}, j.Tools...)
	for _, in := range j.Inputs {
		texts = append(texts, in.Path)
	}
	for _, p := range j.Published {
		texts = append(texts, p.Path)
	}
	for _, text := range texts {
		if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
			return nil, fmt.Errorf("%q holds a control character; no scheduler takes it", text)
		}
	}
	switch scheduler {
	case "systemd":
		return j.systemd()
	case "cron":
		return j.crontab()
	case "github":
		return j.github()
	case "gitlab":
		return j.gitlab()
	}
	return nil, fmt.Errorf("there is no scheduler %q (there are %s)", scheduler, strings.Join(Schedulers, ", "))
}

//go:embed templates
var files embed.FS

// templates use [[ ]], because GitHub's workflows are full of braces.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Delims("[[", "]]").Funcs(template.FuncMap{
		"sh": shellQuote, "dir": filepath.Dir, "yaml": yamlQuote, "unit": unitQuote, "specifiers": unitSpecifiers, "program": unitProgram, "argument": unitArgument,
	}).ParseFS(files, "templates/*"))
})

// render fills in a template. Empty data fields are bugs of this package.
func render(name, as string, data any) (File, error) {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, name, data); err != nil {
		return File{}, err
	}
	return File{Name: as, Text: b.Bytes()}, nil
}

// flags are the run's, but for the file. A profile's name needs no quotes anywhere.
func (j *Job) flags() string {
	flags := "run --no-wait --if-changed --quiet"
	if j.Profile != DefaultProfile {
		flags += " --profile " + j.Profile
	}
	return flags
}

// errAmbiguous is for schedulers whose reading of such an expression is unknown.
var errAmbiguous = errors.New("the days are read in two ways: as those that are in both fields (cron, systemd), or in either; write one of the day fields as *, or both without a leading *")
