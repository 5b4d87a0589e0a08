package stages

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"pipe/internal/document"
)

type params struct {
	Rate   float64           `yaml:"rate" default:"2e-4" help:"a number"`
	Budget time.Duration     `yaml:"budget" default:"1h" key:"stop" help:"a duration"`
	Names  []string          `yaml:"names" help:"a list"`
	Log    int               `yaml:"log" default:"10" key:"-" why:"lines of the log" help:"a remark"`
	Free   []*document.Node  `yaml:"free" help:"anything"`
	Env    map[string]string `yaml:"env" help:"a map"`
	Health struct {
		Loss  *[2]float64 `yaml:"loss" default:"[1, 2]" help:"a range"`
		Below *float64    `yaml:"below" help:"a bound"`
	} `yaml:"health" help:"bands"`
}

type in struct {
	Data  Input `port:"data" help:"what is read"`
	Extra Input `port:"extra" optional:"true" files:"a*,b" help:"more"`
}

type out struct {
	Made string `port:"made" type:"file" help:"what is made"`
}

func decode(t *testing.T, k *Kind, text string) Params {
	t.Helper()
	n, err := document.Parse("p", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, problems := k.Decode(n, n)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

func TestDefinedKindRunsWithItsTypes(t *testing.T) {
	var got params
	k := Define("k", "1", "Does.", func(_ context.Context, _ *Env, p params, i in, o out) error {
		got = p
		if i.Data.Path != "/data" || i.Extra.Path != "" || o.Made != "/out/made" {
			t.Errorf("got %+v, %+v", i, o)
		}
		return nil
	})
	p := decode(t, k, "rate: 1\nbudget: 90s\n")
	if err := k.Run(context.Background(), nil, p, map[string]Input{"data": {Path: "/data"}}, map[string]string{"made": "/out/made"}); err != nil {
		t.Fatal(err)
	}
	if got.Rate != 1 || got.Budget != 90*time.Second || got.Log != 10 || got.Health.Loss[1] != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestKeyHoldsWhatIsNotAtItsDefault(t *testing.T) {
	k := Define("k", "1", "Does.", func(context.Context, *Env, params, in, out) error { return nil })
	for text, want := range map[string]map[string]any{
		"":                                      {},
		"rate: 2.0e-4\nbudget: 60m\nlog: 3\n":   {},
		"health: {loss: [1.0, 2]}\n":            {},
		"rate: 1\nlog: 99\n":                    {"rate": 1.0},
		"budget: 2h\n":                          {"budget": 2 * time.Hour},
		"names: [b, a]\n":                       {"names": []any{"b", "a"}},
		"free: [1, 1.0, x, [y]]\n":              {"free": []any{"1", "1.0", "x", []any{"y"}}},
		"env: {A: b}\n":                         {"env": map[string]any{"A": "b"}},
		"health: {loss: [1, 3], below: 0.5}\n":  {"health": map[string]any{"loss": []any{1.0, 3.0}, "below": 0.5}},
		"health: {loss: null}\n":                {"health": map[string]any{"loss": nil}},
		"health: {}\nnames: null\nrate: null\n": {},
	} {
		if got := decode(t, k, text).Key(); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %#v, want %#v", text, got, want)
		}
	}
}

func TestDefinePanicsOnTagsThatMakeNoSense(t *testing.T) {
	for name, define := range map[string]func(){
		"parameter without help": func() {
			type p struct {
				A int `yaml:"a"`
			}
			Define("k", "1", "", func(context.Context, *Env, p, struct{}, struct{}) error { return nil })
		},
		"out of the key without a reason": func() {
			type p struct {
				A int `yaml:"a" help:"x" key:"-"`
			}
			Define("k", "1", "", func(context.Context, *Env, p, struct{}, struct{}) error { return nil })
		},
		"default that does not decode": func() {
			type p struct {
				A int `yaml:"a" help:"x" default:"one"`
			}
			k := Define("k", "1", "", func(context.Context, *Env, p, struct{}, struct{}) error { return nil })
			k.Decode(nil, &document.Node{Kind: document.Map})
		},
		"input of another type": func() {
			type i struct {
				A string `port:"a" help:"x"`
			}
			Define("k", "1", "", func(context.Context, *Env, struct{}, i, struct{}) error { return nil })
		},
		"output without a type": func() {
			type o struct {
				A string `port:"a" help:"x"`
			}
			Define("k", "1", "", func(context.Context, *Env, struct{}, struct{}, o) error { return nil })
		},
		"a check with other parameters": func() {
			k := Define("k", "1", "", func(context.Context, *Env, struct{}, struct{}, struct{}) error { return nil })
			Checked(k, func(context.Context, *Env, params, struct{}) error { return nil })
		},
		"a name twice": func() {
			k := Define("k", "1", "", func(context.Context, *Env, struct{}, struct{}, struct{}) error { return nil })
			NewRegistry(k, k)
		},
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(toText(r), "internal error") {
					t.Errorf("%s: got %v", name, r)
				}
			}()
			define()
		}()
	}
}

func toText(v any) string { s, _ := v.(string); return s }
