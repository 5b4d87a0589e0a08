package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/cache"
	"pipe/internal/problem"
	"pipe/pipeline"
	"pipe/stages"
)

type adviceParams struct {
	Size  int `yaml:"size" default:"1" help:"a number"`
	Inner struct {
		Deep int `yaml:"deep" default:"1" help:"a number"`
	} `yaml:"inner" help:"a map"`
}

type adviceIn struct {
	In  stages.Input `port:"in" type:"file" help:"a text"`
	And stages.Input `port:"and" type:"file" optional:"true" help:"a text"`
}

type adviceOut struct {
	Out string `port:"out" type:"file" help:"a text"`
}

// adviceKinds are quick, which copies; slow, which is never run; and judge, which says
// what it was given.
func adviceKinds(t *testing.T) *stages.Registry {
	quick := stages.Define("quick", "1", "Copies.", func(_ context.Context, env *stages.Env, p adviceParams, in adviceIn, out adviceOut) error {
		text, err := os.ReadFile(in.In.Path)
		switch {
		case err != nil:
			return err
		case p.Size == 13:
			panic("thirteen")
		case string(text) == "bad":
			return problem.List{problem.At(in.In.Path, 3, 4, "it is bad").WithHint("make it good")}
		case string(text) == "poor":
			env.Advise(stages.Remark{Message: "it is poor", Param: "inner.deep", File: in.In.Path, Line: 1})
		}
		env.Log.Warn("not for a check")
		return os.WriteFile(out.Out, text, 0o666)
	}).Quick()
	slow := stages.Define("slow", "1", "Trains.", func(context.Context, *stages.Env, adviceParams, adviceIn, adviceOut) error {
		t.Error("a check ran a stage that is not quick")
		return nil
	})
	judge := stages.Checked(stages.Define("judge", "1", "Judges.", func(context.Context, *stages.Env, adviceParams, adviceIn, adviceOut) error { return nil }),
		func(_ context.Context, env *stages.Env, p adviceParams, in adviceIn) error {
			text, _ := os.ReadFile(in.In.Path)
			env.Advise(stages.Remark{Message: fmt.Sprintf("%q, pending %v, and pending %v", text, in.In.Pending, in.And.Pending), Param: "inner.deep", Hint: "in " + in.In.Path})
			env.Advise(stages.Remark{Message: "the port", Port: "in"})
			if p.Size > 5 {
				return errors.New("size is too large for " + in.In.Path)
			}
			return nil
		})
	return stages.NewRegistry(quick, slow, judge)
}

func TestAdviseLooksAsFarAsQuickStagesReach(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"good": "good", "bad": "bad", "poor": "poor"} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := os.Create("large"); err != nil || f.Truncate(quickBytes+1) != nil || f.Close() != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, stages, want string }{
		{"what a quick stage makes is handed on", `
  a: { uses: quick, in: { in: good } }
  b: { uses: judge, in: { in: "${a.out}" }, with: { inner: { deep: 2 } } }
`, `
p.yaml:4:68: warning: stage "b": "good", pending false, and pending false | in a.out
p.yaml:4:31: warning: stage "b": the port`},
		{"what a slow one makes is pending", `
  a: { uses: quick, in: { in: good } }
  b: { uses: slow, in: { in: "${a.out}" } }
  c: { uses: judge, in: { in: "${b.out}" } }
`, `
p.yaml:5:3: warning: stage "c": "", pending true, and pending false | in 
p.yaml:5:31: warning: stage "c": the port`},
		{"a stage that is bound to fail", `
  a: { uses: judge, in: { in: good, and: good }, with: { size: 6 } }
`, `
p.yaml:3:3: warning: stage "a": "good", pending false, and pending false | in good
p.yaml:3:31: warning: stage "a": the port
p.yaml:3:3: error: stage "a": size is too large for good`},
		{"mistakes in data, and in what comes of it", `
  a: { uses: quick, in: { in: bad } }
  b: { uses: judge, in: { in: "${a.out}" } }
`, `
bad:3:4: error: it is bad | make it good
p.yaml:4:3: warning: stage "b": "", pending true, and pending false | in 
p.yaml:4:31: warning: stage "b": the port`},
		{"a place in what was made", `
  a: { uses: quick, in: { in: poor } }
  b: { uses: quick, in: { in: "${a.out}" } }
`, `
poor:1: warning: it is poor
a.out:1: warning: it is poor`},
		{"too much to look at", `
  a: { uses: quick, in: { in: large } }
  b: { uses: judge, in: { in: "${a.out}" } }
`, `
p.yaml:3:3: note: stage "a": its input has 16 MiB: what comes of it is not looked at here
p.yaml:4:3: warning: stage "b": "", pending true, and pending false | in 
p.yaml:4:31: warning: stage "b": the port`},
		{"a source that is not there", `
  a: { uses: quick, in: { in: nothing } }
`, ""},
	} {
		if got := advice(t, adviceKinds(t), "pipeline: p\nstages:"+c.stages); got != strings.TrimPrefix(c.want, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, strings.TrimPrefix(c.want, "\n"))
		}
	}
}

func TestAdviseOutlivesAPanic(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("good", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	got := advice(t, adviceKinds(t), "pipeline: p\nstages:\n  a: { uses: quick, in: { in: good }, with: { size: 13 } }\n  b: { uses: judge, in: { in: good } }\n")
	if !strings.Contains(got, "error: stage \"a\": internal error: thirteen") || !strings.Contains(got, `stage "b": the port`) {
		t.Errorf("got %s", got)
	}
}

// advice is a line a finding: place, level, message and hint.
func advice(t *testing.T, kinds *stages.Registry, text string) string {
	t.Helper()
	f, err := pipeline.Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := f.Resolve(kinds, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := cache.OpenToRead(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{Plan: plan, Store: store}
	found, err := r.Advise(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range found {
		line := fmt.Sprintf("%s: %s: %s", f.Place(), f.Level, f.Message)
		if f.Hint != "" {
			line += " | " + f.Hint
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
