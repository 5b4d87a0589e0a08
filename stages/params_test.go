package stages

import (
	"maps"
	"testing"

	"pipe/internal/document"
)

func TestPlacesAndDefaultsOfParameters(t *testing.T) {
	type params struct {
		Rate float64 `yaml:"rate" default:"2e-3" help:"h"`
		Name string  `yaml:"name" help:"h"`
		Deep struct {
			Depth int `yaml:"depth" default:"3" help:"h"`
		} `yaml:"deep" help:"h"`
	}
	k := DefineOpen[params]("k", "1", "S.", nil)
	with, err := document.Parse("p.yaml", []byte("rate: 1\ndeep:\n  depth: 4\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, problems := k.Decode(with, with)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := map[string]string{"rate": "p.yaml:1:7", "deep.depth": "p.yaml:3:10"}
	if got := p.Places(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, want := range map[string]string{"rate": "2e-3", "deep.depth": "3", "name": "none", "deep": "none", "deep.x": "none", "name.x": "none", "x": "none"} {
		got, ok := k.Default(name)
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
