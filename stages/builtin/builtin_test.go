package builtin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"pipe/internal/golden"
	"pipe/pipeline"
	"pipe/pipeline/drawing"
	"pipe/pipelines"
)

// TestDocsAreFresh holds docs/stages.md and docs/pipe.schema.json to the kinds'
// declarations, and docs/pipeline.svg to the shipped pipeline; -update writes them
// (make generate).
func TestDocsAreFresh(t *testing.T) {
	kinds := Kinds()
	schema, err := kinds.JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	file, err := pipeline.Parse("pipelines/mistral-behaviors.yaml", pipelines.MistralBehaviors)
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := file.Resolve(kinds, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"stages.md": []byte(kinds.Markdown()), "pipe.schema.json": schema, "pipeline.svg": []byte(drawing.Of(shipped).SVG())} {
		path := filepath.Join(golden.Root(t), "docs", name)
		if golden.Update() {
			if err := os.WriteFile(path, want, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != string(want) {
			t.Errorf("docs/%s is stale (%v); make generate writes it\n%s", name, err, golden.Diff(string(got), string(want)))
		}
	}
}

func TestSchemaIsJSONThatNamesEveryKind(t *testing.T) {
	b, err := Kinds().JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range Kinds().Names() {
		if schema.Defs[name] == nil {
			t.Errorf("no definition of %s", name)
		}
	}
}

func TestShippedPipelinesResolveInEveryProfile(t *testing.T) {
	f, err := pipeline.Parse("pipelines/mistral-behaviors.yaml", pipelines.MistralBehaviors)
	if err != nil {
		t.Fatal(err)
	}
	for _, profile := range append(f.Profiles(), "") {
		plan, err := f.Resolve(Kinds(), pipeline.Options{Profile: profile})
		if err != nil {
			t.Fatalf("profile %q: %v", profile, err)
		}
		if len(plan.Steps) != 6 {
			t.Errorf("profile %q has %d stages", profile, len(plan.Steps))
		}
	}
}
