package schedule

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// storeFolder is where a runner keeps the store: below the working directory, as
// without a flag.
const storeFolder = ".pipe"

// checkout is a job as it looks in a clone of its repository: paths with slashes,
// relative to the root, the file's to the working directory.
type checkout struct {
	Name, Pipeline, Profile string
	Every                   string
	Flags                   string
	Dir                     string // "." for the root
	File                    string
	Store                   string
	Published               []string // with versions
	Inputs                  []string // patterns; of folders all that is in them
	Source                  bool
	Outside                 []string // inputs that a clone lacks
	Variables               []Variable
	Tools                   []string
}

func (j *Job) checkout(scheduler string) (*checkout, error) {
	c := &checkout{Name: j.Name(), Pipeline: j.Pipeline, Profile: j.Profile, Every: j.Every.String(), Flags: j.flags(), Source: j.Source, Variables: j.variables(), Tools: j.Tools}
	if j.Every.Ambiguous() {
		return nil, fmt.Errorf("%s: %s: %w", scheduler, j.Every, errAmbiguous)
	}
	var err error
	if c.Dir, err = inside(j.Root, j.Dir); err != nil {
		return nil, fmt.Errorf("%s: the working directory %w", scheduler, err)
	}
	file, err := inside(j.Root, j.File)
	if err != nil {
		return nil, fmt.Errorf("%s: the pipeline file %w", scheduler, err)
	}
	rel, err := filepath.Rel(j.Dir, j.File)
	if err != nil {
		return nil, err
	}
	c.File, c.Store = filepath.ToSlash(rel), join(c.Dir, storeFolder)
	c.Inputs = []string{file}
	for _, in := range j.Inputs {
		path, err := inside(j.Root, in.Path)
		if err != nil {
			c.Outside = append(c.Outside, in.Path)
			continue
		}
		if in.Folder {
			path = join(path, "**")
		}
		c.Inputs = append(c.Inputs, path)
	}
	for _, p := range j.Published {
		path, err := inside(j.Root, p.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: the place of an output %w", scheduler, err)
		}
		c.Published = append(c.Published, path)
		if p.Folder {
			c.Published = append(c.Published, path+".versions")
		}
	}
	return c, c.checkPaths(scheduler)
}

// checkPaths refuses what cannot be written where patterns and expressions stand.
func (c *checkout) checkPaths(scheduler string) error {
	for _, path := range append(append([]string{c.Dir, c.File}, c.Published...), c.Inputs...) {
		plain := strings.TrimSuffix(path, "/**")
		if strings.ContainsAny(plain, `*?[]{}\`) || strings.ContainsAny(plain[:1], "!~#-") {
			return fmt.Errorf("%s: the path %q would be read as a pattern there", scheduler, plain)
		}
	}
	return nil
}

// inside returns a path relative to root. The error goes on after what the path is.
func inside(root, path string) (string, error) {
	rel, err := filepath.Rel(root, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("%s is outside of the repository %s: a runner has what is checked in there", path, root)
	}
	return filepath.ToSlash(rel), nil
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// githubPause is the shortest that GitHub starts a workflow after the last start.
const githubPause = 5 * time.Minute

// githubSets says whether a variable is there on every runner of GitHub: the
// repository's would take its place, and be empty.
func githubSets(name string) bool {
	return slices.Contains([]string{"CI", "LANG", "SHELL", "USER"}, name) || strings.HasPrefix(name, "RUNNER_") ||
		strings.HasPrefix(name, "GITHUB_") && name != "GITHUB_TOKEN"
}

// github returns a workflow.
func (j *Job) github() ([]File, error) {
	if pause := j.Every.ShortestPause(); pause < githubPause {
		return nil, fmt.Errorf("github: %s: fires after %.0f minutes, GitHub starts a workflow every %.0f at most", j.Every, pause.Minutes(), githubPause.Minutes())
	}
	c, err := j.checkout("github")
	if err != nil {
		return nil, err
	}
	c.Variables = slices.DeleteFunc(c.Variables, func(v Variable) bool { return githubSets(v.Name) })
	patterns := make([]string, len(c.Inputs))
	for i, path := range c.Inputs {
		patterns[i] = "'" + strings.ReplaceAll(path, "'", "''") + "'"
	}
	f, err := render("github.yml", j.Name()+".yml", struct {
		*checkout
		Hash string
	}{c, strings.Join(patterns, ", ")})
	return []File{f}, err
}

// gitlab returns a file to include, with one job.
func (j *Job) gitlab() ([]File, error) {
	c, err := j.checkout("gitlab")
	if err != nil {
		return nil, err
	}
	for i, path := range c.Published { // GitLab replaces variables in paths
		c.Published[i] = strings.ReplaceAll(path, "$", "$$")
	}
	f, err := render("gitlab.yml", j.Name()+".gitlab-ci.yml", struct {
		*checkout
		CachedStore string
	}{c, strings.ReplaceAll(c.Store, "$", "$$")})
	return []File{f}, err
}
