package pipeline

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/internal/problem"
	"pipe/stages"
)

// kinds are enough to resolve pipelines without computing anything.
func kinds() *stages.Registry {
	type params struct {
		Rate  float64  `yaml:"rate" default:"0.5" above:"0" help:"a number"`
		Names []string `yaml:"names" help:"a list"`
		Level int      `yaml:"level" default:"1" help:"a whole number"`
		Note  string   `yaml:"note" key:"-" why:"nobody reads it" help:"a remark"`
	}
	type in struct {
		Data  stages.Input `port:"data" help:"what to read"`
		Extra stages.Input `port:"extra" optional:"true" help:"more to read"`
	}
	type out struct {
		Data  string `port:"data" type:"file" help:"what was made"`
		Extra string `port:"extra" type:"folder" help:"more that was made"`
	}
	return stages.NewRegistry(
		stages.Define("work", "1", "Works.", func(context.Context, *stages.Env, params, in, out) error { return nil }),
		stages.DefineOpen("free", "1", "Anything.", func(context.Context, *stages.Env, params, map[string]stages.Input, map[string]string) error {
			return nil
		}),
	)
}

func resolve(t *testing.T, text string, opts Options) (*Plan, error) {
	t.Helper()
	f, err := Parse("dir/p.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return f.Resolve(kinds(), opts)
}

// describe is a plan as text, for comparing.
func describe(p *Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", p.Name, p.Profile)
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s uses %s %v %+v\n", s.Name, s.Kind.Name, s.Params.Key(), s.Resources)
		for _, in := range s.Inputs {
			if in.From != nil {
				fmt.Fprintf(&b, "  %s from %s.%s\n", in.Port.Name, in.From.Name, in.FromPort)
			} else {
				fmt.Fprintf(&b, "  %s from source %s\n", in.Port.Name, in.Source)
			}
		}
		for _, p := range s.Publish {
			fmt.Fprintf(&b, "  publishes %s at %s\n", p.Port, p.To)
			if p.UnlessWorse != nil {
				fmt.Fprintf(&b, "    unless worse by %s.%s\n", p.UnlessWorse.From.Name, p.UnlessWorse.FromPort)
			}
		}
	}
	return b.String()
}

const example = `pipeline: example
params:
  src: ../data/x
  names: [a, b]
  base: builtin:x
profiles:
  big: { params: { names: [c] }, stages: { two: { with: { rate: 2.5e-1, level: 7 } } } }
stages:
  three: { uses: work, in: { data: "${two.data}", extra: "${one.extra}" }, publish: { data: "../out/${pipeline}-${profile}.txt" } }
  one: { uses: work, in: { data: "${params.src}" }, with: { names: "${params.names}", note: "at ${params.src}" } }
  two: { uses: work, in: { data: "${one.data}", extra: "${params.base}" }, resources: { cpu: 2, memory: 1.5GiB } }
`

func TestPlan(t *testing.T) {
	for profile, opts := range map[string]Options{
		"default": {}, "big": {Profile: "big"},
		"set": {Profile: "big", Set: []string{"two.level=9", "params.src=here/y", "one.names=[z]"}},
	} {
		p, err := resolve(t, example, opts)
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, "plan-"+profile+".golden", []byte(describe(p)))
	}
}

func TestOrderOfKeysDoesNotMatter(t *testing.T) {
	want, err := resolve(t, example, Options{})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(example), "\n")
	stagesAt := len(lines) - 3
	random := rand.New(rand.NewSource(1))
	for range 50 {
		shuffled := append([]string(nil), lines...)
		random.Shuffle(3, func(i, j int) {
			shuffled[stagesAt+i], shuffled[stagesAt+j] = shuffled[stagesAt+j], shuffled[stagesAt+i]
		})
		got, err := resolve(t, strings.Join(shuffled, "\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if describe(got) != describe(want) {
			t.Fatalf("got\n%s\nwant\n%s", describe(got), describe(want))
		}
	}
}

func TestProfilesAreCheckedSelectedOrNot(t *testing.T) {
	text := strings.Replace(example, "level: 7", "level: seven", 1)
	for _, profile := range []string{"", "big"} {
		if _, err := resolve(t, text, Options{Profile: profile}); err == nil || !strings.Contains(err.Error(), `stage "two": level: must be a whole number, got the string "seven"`) {
			t.Errorf("profile %q: got %v", profile, err)
		}
	}
}

func TestSetIsRelativeToTheWorkingDirectory(t *testing.T) {
	p, err := resolve(t, example, Options{Set: []string{"params.src=here"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Step("one").Inputs[0].Source; got != "here" {
		t.Errorf("got %q", got)
	}
	if got := p.Step("three").Publish[0].To; got != "out/example-default.txt" {
		t.Errorf("of the file: got %q", got)
	}
}

func TestProblemsHavePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: \"${b.data}\" } }\n  b: { uses: work, in: { data: \"${a.data}\" } }\n":     "dir/p.yaml:3:3: stages form a circle: a → b → a",
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: \"${a.data}\" } }\n":                                                       "circle: a → a",
		"pipeline: p\nstages:\n  a: { uses: work }\n":                                                                                    "dir/p.yaml:3:3: stage \"a\": input \"data\" is not connected",
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: x, dat: y } }\n":                                                           "3:35: stage \"a\": kind \"work\" has no input \"dat\"",
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: 3 } }\n":                                                                   "3:32: stage \"a\": in: data must be a path",
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: \"pre-${b.data}\" } }\n  b: { uses: work, in: { data: x } }\n":             "${b.data} means nothing here",
		"pipeline: p\nparams: { x: \"${params.y}\", y: \"${params.x}\" }\nstages:\n  a: { uses: work, in: { data: \"${params.x}\" } }\n": "refers to itself",
		"pipeline: p\nstages:\n  A: { uses: work, in: { data: x } }\n":                                                                   "3:3: stages: the name \"A\"",
		"pipeline: p\nstages:\n  params: { uses: work, in: { data: x } }\n":                                                              "the name \"params\" is reserved",
		"pipeline: p\nstages: [a]\n":                                                                             "2:9: stages: must be a map",
		"pipeline: 3\nstages:\n  a: { uses: work, in: { data: x } }\n":                                           "1:11: pipeline: must be a name",
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: x }, publish: { extra: o, data: o } }\n":           "publish: dir/o is also where a.extra goes",
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: x }, publish: { extra: { to: o, better: x } } }\n": "unknown publish.extra: key \"better\"",
		unlessWorse("x", "extra", "dta"):                                                                         `dir/p.yaml:4:80: stage "b": publish: extra: unless_worse: the stage has no input "dta"`,
		unlessWorse("x", "extra", "[data]"):                                                                      `dir/p.yaml:4:80: stage "b": publish: extra: unless_worse: must be the name of an input, got a list`,
		unlessWorse("x", "extra", "data"):                                                                        `dir/p.yaml:4:80: stage "b": publish: extra: unless_worse: input "data" is dir/x, and no output of a stage`,
		unlessWorse("${a.data}", "extra", "data"):                                                                `dir/p.yaml:4:88: stage "b": publish: extra: unless_worse: a.data is a file, and score.json lies in a folder`,
		unlessWorse("${a.extra}", "data", "data"):                                                                `dir/p.yaml:4:88: stage "b": publish: data: unless_worse: output "data" is a file`,
		"pipeline: p\nstages:\n  a: { uses: work, in: { data: x }, repeat: 3 }\n":                                "unknown key \"repeat\"",
		"pipeline: p\nstages:\n  a: { uses: free, in: { data: x } }\n":                                           "key \"out\" is missing",
		"pipeline: p\nstages:\n  a: { uses: free, out: [../x] }\n":                                               "a name is made of lower-case letters",
	} {
		_, err := resolve(t, text, Options{})
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "\n", " "), want) {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestParametersAtTheirDefaultAreNoPartOfTheKey(t *testing.T) {
	p, err := resolve(t, "pipeline: p\nstages:\n  a: { uses: work, in: { data: x }, with: { rate: 5.0e-1, level: 1, note: n, names: [] } }\n  b: { uses: work, in: { data: x } }\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := p.Step("a").Params.Key(), p.Step("b").Params.Key()
	delete(a, "names") // an empty list is not the absent one
	if !reflect.DeepEqual(a, b) || len(b) != 0 {
		t.Errorf("got %v and %v", a, b)
	}
}

func TestUpstreamIsWhatAStageNeeds(t *testing.T) {
	p, err := resolve(t, example, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range p.Upstream([]*Step{p.Step("two")}) {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "one two" {
		t.Errorf("got %q", got)
	}
}

func TestSortIsStableAndQuick(t *testing.T) {
	steps := make([]*Step, 20000)
	for i := range steps {
		steps[i] = &Step{Name: fmt.Sprintf("s%d", i)}
		for _, back := range []int{1, 100, 1000} {
			if i >= back {
				steps[i].Inputs = append(steps[i].Inputs, Input{From: steps[i-back]})
			}
		}
	}
	sorted, cycles := sortSteps(steps)
	if cycles != nil || !reflect.DeepEqual(sorted, steps) {
		t.Error("steps that stand in order were moved")
	}
}

func FuzzResolve(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("pipeline: p\nstages:\n  a: { uses: free, out: [x], with: { names: [\"${in.x}\"] } }\n"))
	if b, err := os.ReadFile(filepath.Join("..", "pipelines", "mistral-behaviors.yaml")); err == nil {
		f.Add(b)
	}
	registry := kinds()
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse("p.yaml", text)
		if err != nil {
			return
		}
		plan, err := file.Resolve(registry, Options{})
		if (plan == nil) == (err == nil) {
			t.Fatalf("plan %v, error %v", plan, err)
		}
		if list, ok := err.(problem.List); err != nil && (!ok || len(list) == 0) {
			t.Fatalf("got %T", err)
		}
	})
}

// unlessWorse is a pipeline whose second stage publishes a port unless its input is
// worse.
func unlessWorse(data, publishes, port string) string {
	return "pipeline: p\nstages:\n  a: { uses: work, in: { data: y } }\n" +
		"  b: { uses: work, in: { data: \"" + data + "\" }, publish: { " + publishes + ": { to: o, unless_worse: " + port + " } } }\n"
}

func TestUnlessWorseNamesTheOutputThatHoldsTheScores(t *testing.T) {
	p, err := resolve(t, unlessWorse("${a.extra}", "extra", "data"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Step("b").Publish[0].UnlessWorse; got == nil || got.From != p.Step("a") || got.FromPort != "extra" {
		t.Errorf("got %+v", got)
	}
}
