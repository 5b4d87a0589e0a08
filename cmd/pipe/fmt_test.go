package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"pipe/internal/linediff"
	"pipe/pipeline"
	"pipe/stages/builtin"
)

// pipelineFiles are all that there are in this repository and that have no mistakes:
// the shipped ones and those in scripts.
func pipelineFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	add := func(name string, text []byte) {
		if f, err := pipeline.Parse(name, text); err == nil {
			if _, err := f.Resolve(builtin.Kinds(), pipeline.Options{}); err == nil {
				files[name] = text
			}
		}
	}
	shipped, _ := filepath.Glob("../../pipelines/*.yaml")
	for _, path := range shipped {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		add(filepath.Base(path), text)
	}
	scripts, _ := filepath.Glob("testdata/script/*.txtar")
	for _, path := range scripts {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if isPipelineFile(f.Name) {
				add(strings.TrimSuffix(filepath.Base(path), ".txtar")+"-"+f.Name, f.Data)
			}
		}
	}
	if len(files) < 30 {
		t.Fatalf("only %d pipelines were found", len(files))
	}
	return files
}

// planText is all of a plan that a run depends on.
func planText(t *testing.T, text []byte) string {
	t.Helper()
	f, err := pipeline.Parse("p.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var b strings.Builder
	for _, profile := range append(f.Profiles(), "") {
		p, err := f.Resolve(builtin.Kinds(), pipeline.Options{Profile: profile})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		fmt.Fprintf(&b, "%s (%s) %+v\n", p.Name, p.Profile, p.Hooks)
		for _, s := range p.Steps {
			fmt.Fprintf(&b, "%s %s %v %v %+v %v %v\n", s.Name, s.Kind.Name, s.Params.Key(), s.Outputs, s.Resources, s.Timeout, s.Retries)
			for _, in := range s.Inputs {
				fmt.Fprintf(&b, "  %s: %s%s\n", in.Port.Name, in.Output(), in.Source)
			}
			for _, p := range s.Publish {
				fmt.Fprintf(&b, "  publishes %s at %s, judged %v\n", p.Port, p.To, p.UnlessWorse != nil)
			}
			for _, v := range append(s.Env, s.Secrets...) {
				fmt.Fprintf(&b, "  sees %s %v\n", v.Name, v.Optional)
			}
			for _, v := range s.Tools {
				fmt.Fprintf(&b, "  uses %s\n", v.Name)
			}
		}
	}
	return b.String()
}

// checkFormat formats a file and holds the result to what formatting promises.
func checkFormat(t *testing.T, name string, text []byte) []byte {
	t.Helper()
	out, err := pipeline.Format(builtin.Kinds(), name, text)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
	if before, after := planText(t, text), planText(t, out); before != after {
		t.Fatalf("%s: another plan:\n%s\nof\n%s", name, linediff.Diff(before, after), out)
	}
	again, err := pipeline.Format(builtin.Kinds(), name, out)
	if err != nil || !bytes.Equal(again, out) {
		t.Fatalf("%s: a second time changes it (%v):\n%s\nof\n%s", name, err, linediff.Diff(string(out), string(again)), text)
	}
	return out
}

func TestFormatKeepsEveryPlan(t *testing.T) {
	for name, text := range pipelineFiles(t) {
		checkFormat(t, name, text)
	}
}

func TestShippedPipelinesAreFormatted(t *testing.T) {
	shipped, _ := filepath.Glob("../../pipelines/*.yaml")
	for _, path := range shipped {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := linediff.Diff(string(text), string(checkFormat(t, path, text))); diff != "" {
			t.Errorf("%s: pipe fmt would change it:\n%s", path, diff)
		}
	}
}

// TestFormatNeverLosesAComment puts numbered comments and empty lines wherever they do
// not change the plan.
func TestFormatNeverLosesAComment(t *testing.T) {
	files := pipelineFiles(t)
	for name, text := range files {
		random := rand.New(rand.NewSource(int64(len(name))))
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		for range 3 {
			var b strings.Builder
			number := 0
			comment := func() string { number++; return fmt.Sprintf("# comment %d.", number) }
			for _, line := range lines {
				switch random.Intn(5) {
				case 0:
					fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", random.Intn(8)), comment())
				case 1:
					b.WriteByte('\n')
				case 2:
					line += "   " + comment()
				}
				b.WriteString(line + "\n")
			}
			if !samePlan(t, text, []byte(b.String())) {
				continue // a comment became part of a text
			}
			out := string(checkFormat(t, name, []byte(b.String())))
			for n := 1; n <= number; n++ {
				if c := fmt.Sprintf("# comment %d.", n); strings.Count(out, c) != strings.Count(b.String(), c) {
					t.Errorf("%s: %s is lost:\n%s\nof\n%s", name, c, out, b.String())
				}
			}
		}
	}
}

func samePlan(t *testing.T, a, b []byte) bool {
	f, err := pipeline.Parse("p.yaml", b)
	if err != nil {
		return false
	}
	for _, profile := range append(f.Profiles(), "") {
		if _, err := f.Resolve(builtin.Kinds(), pipeline.Options{Profile: profile}); err != nil {
			return false
		}
	}
	return planText(t, a) == planText(t, b)
}
