package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"pipe/internal/document"
	"pipe/internal/problem"
)

// File is a pipeline file after parsing: well formed, with known keys, not yet
// resolved.
type File struct {
	Path string // as it was given
	Name string

	params    *document.Node
	profiles  []document.Entry
	resources *document.Node
	stages    *document.Node
	hooks     []document.Entry
	root      *document.Node
	problems  problem.List // of the frame; Resolve adds those of the stages
}

// Profiles lists the names of the file's profiles, without the default one.
func (f *File) Profiles() []string {
	names := make([]string, len(f.profiles))
	for i, p := range f.profiles {
		names[i] = p.Key
	}
	return names
}

// Stages lists the names of the file's stages, in its order.
func (f *File) Stages() []string { return keys(f.stages) }

// Params lists the names of the file's params, in its order.
func (f *File) Params() []string { return keys(f.params) }

// Read reads and parses the file at path.
func Read(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, problem.List{problem.At(path, 0, 0, "%v", reason(err))}
	}
	return Parse(path, text)
}

// reason is an error of the file system without the path, which the message has
// already.
func reason(err error) error {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Err
	}
	return err
}

var (
	pipelineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	stageName    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	profileName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	paramName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

var topKeys = []string{"pipeline", "params", "profiles", "resources", "stages", "on_success", "on_failure"}

// Parse parses a pipeline file. The error is a problem.List. What is wrong with a
// file that can be read at all is said by Resolve, all at once.
func Parse(path string, text []byte) (*File, error) {
	root, err := document.Parse(path, text)
	if err != nil {
		return nil, err
	}
	var problems problem.List
	if root.Kind != document.Map {
		return nil, problem.List{root.Problem("a pipeline file is a map, got %s", root.Describe())}
	}
	f := &File{Path: path, root: root}
	for _, e := range root.Entries {
		switch e.Key {
		case "pipeline":
			f.Name = e.Value.Text
			if e.Value.Kind != document.String || !pipelineName.MatchString(f.Name) {
				problems.Add(e.Value.Problem("pipeline: must be a name of letters, digits, dots, dashes and underscores, got %s", e.Value.Describe()))
			}
		case "params":
			f.params = e.Value
			problems = append(problems, checkNames(e.Value, "params", paramName, "letters, digits, dashes and underscores")...)
		case "profiles":
			problems = append(problems, checkNames(e.Value, "profiles", profileName, "letters, digits, dots, dashes and underscores")...)
			f.profiles = e.Value.Entries
		case "resources":
			f.resources = e.Value
		case "stages":
			f.stages = e.Value
			problems = append(problems, checkNames(e.Value, "stages", stageName, "lower-case letters, digits and dashes")...)
		case "on_failure", "on_success":
			f.hooks = append(f.hooks, e)
			problems = append(problems, checkHook(e)...)
		default:
			problems.Add(root.KeyProblem(e, "unknown key %q", e.Key).WithHint("%s", document.Suggest(e.Key, topKeys)))
		}
	}
	if f.root.Get("pipeline") == nil {
		problems.Add(root.Problem("key %q is missing", "pipeline").WithHint("it names the pipeline, as in: pipeline: my-model"))
	}
	if f.stages == nil || f.stages.Kind == document.Null || f.stages.Kind == document.Map && len(f.stages.Entries) == 0 {
		problems.Add(root.Problem("there are no stages").WithHint("stages: is a map from a stage's name to what it does"))
	}
	for _, p := range f.profiles {
		problems = append(problems, checkProfile(root, p)...)
	}
	f.problems = problems
	return f, nil
}

func checkNames(n *document.Node, what string, form *regexp.Regexp, made string) problem.List {
	var problems problem.List
	if n.Kind == document.Null {
		return nil
	}
	if n.Kind != document.Map {
		return problem.List{n.Problem("%s: must be a map, got %s", what, n.Describe())}
	}
	for _, e := range n.Entries {
		if !form.MatchString(e.Key) {
			problems.Add(n.KeyProblem(e, "%s: the name %q must be made of %s", what, e.Key, made))
		}
		if what == "stages" && (e.Key == "params" || e.Key == "matrix") || what == "profiles" && e.Key == DefaultProfile {
			problems.Add(n.KeyProblem(e, "%s: the name %q is reserved", what, e.Key))
		}
	}
	return problems
}

func checkProfile(root *document.Node, profile document.Entry) problem.List {
	var problems problem.List
	if profile.Value.Kind != document.Map && profile.Value.Kind != document.Null {
		return problem.List{profile.Value.Problem("profile %q: must be a map, got %s", profile.Key, profile.Value.Describe())}
	}
	for _, e := range profile.Value.Entries {
		if e.Key != "params" && e.Key != "stages" {
			problems.Add(profile.Value.KeyProblem(e, "profile %q: unknown key %q", profile.Key, e.Key).WithHint("a profile changes params and stages"))
			continue
		}
		if e.Value.Kind != document.Map && e.Value.Kind != document.Null {
			problems.Add(e.Value.Problem("profile %q: %s must be a map, got %s", profile.Key, e.Key, e.Value.Describe()))
		}
		for _, inner := range e.Value.Entries {
			base := root.Get(e.Key)
			if base.Get(inner.Key) != nil {
				continue
			}
			names := keys(base)
			problems.Add(e.Value.KeyProblem(inner, "profile %q: there is no %s %q to change", profile.Key, e.Key[:len(e.Key)-1], inner.Key).
				WithHint("%s", document.Suggest(inner.Key, names)))
		}
	}
	return problems
}

func keys(n *document.Node) []string {
	if n == nil {
		return nil
	}
	names := make([]string, len(n.Entries))
	for i, e := range n.Entries {
		names[i] = e.Key
	}
	return names
}

// join makes a path that a node names relative to the working directory: paths in
// the file are relative to the file, paths of --set to the working directory.
func (f *File) join(n *document.Node, path string) string {
	if filepath.IsAbs(path) || n.File() != f.Path {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(f.Path), path)
}

// setOrigin is the file name of nodes that came from --set.
func setOrigin(text string) string { return fmt.Sprintf("--set %s", text) }
