package generate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/runtime/cpu"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/ops"
	"pipe/runtime/ops/opstest"
)

// onEachBackend runs a test on the reference, with buffers that the host cannot
// read, and on every tier of the CPU.
func onEachBackend(t *testing.T, test func(t *testing.T, b ops.Backend)) {
	t.Run("sealed", func(t *testing.T) { test(t, opstest.Sealed(ops.NewReference())) })
	for _, tier := range tiers() {
		t.Run(tier, func(t *testing.T) { test(t, openTier(t, tier, 2)) })
	}
}

// tiers are those of the CPU, in a short test the fastest alone.
func tiers() []string {
	if testing.Short() {
		return cpu.Tiers()[:1]
	}
	return cpu.Tiers()
}

func openTier(t testing.TB, tier string, workers int) ops.Backend {
	t.Helper()
	b, err := cpu.Open(tier, workers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func newGenerator(t testing.TB, m *mistral.Model, slots, positions int) *Generator {
	t.Helper()
	g, err := New(m, slots, positions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Free)
	return g
}

func generate(t testing.TB, g *Generator, prompts [][]int32, a *lora.Adapter, o Options) []Answer {
	t.Helper()
	answers, err := g.Generate(context.Background(), prompts, a, o)
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

func loadModel(t testing.TB, b ops.Backend, dir string) *mistral.Model {
	t.Helper()
	m, err := mistral.Load(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func TestGoldenGenerate(t *testing.T) {
	var cases struct {
		Cases []struct {
			Name, Model  string
			Adapter      *string
			MaxNewTokens int    `json:"max_new_tokens"`
			StopToken    *int32 `json:"stop_token"`
			Prompts      []struct {
				Prompt, Tokens []int32
				Margins        []float64
			}
		}
	}
	if err := json.Unmarshal(golden.Read(t, "model/generate.json"), &cases); err != nil {
		t.Fatal(err)
	}
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		for _, c := range cases.Cases {
			t.Run(c.Name, func(t *testing.T) {
				m := loadModel(t, b, golden.Path(t, "model/"+c.Model))
				var a *lora.Adapter
				if c.Adapter != nil {
					var err error
					if a, err = lora.Read(b, m.Config.Base(), golden.Path(t, "model/"+*c.Adapter)); err != nil {
						t.Fatal(err)
					}
					defer a.Free()
				}
				o := Options{MaxNewTokens: c.MaxNewTokens}
				if c.StopToken != nil {
					o.Stop = []int32{*c.StopToken}
				}
				var prompts [][]int32
				for _, p := range c.Prompts {
					prompts = append(prompts, p.Prompt)
				}
				answers := generate(t, newGenerator(t, m, len(prompts), m.Config.Positions), prompts, a, o)
				for i, p := range c.Prompts {
					if n := len(p.Tokens); c.StopToken != nil && n > 0 && p.Tokens[n-1] == *c.StopToken {
						p.Tokens = p.Tokens[:n-1] // which is no part of our answers
					}
					// A near tie may fall either way; what follows it is another answer.
					n := slices.IndexFunc(p.Margins, func(margin float64) bool { return margin < 1e-3 })
					if n < 0 || n > len(p.Tokens) {
						n = len(p.Tokens)
					}
					if got := answers[i].IDs; len(got) < n || !slices.Equal(got[:n], p.Tokens[:n]) {
						t.Errorf("prompt %d: got %v, want %v", i, got, p.Tokens[:n])
					}
				}
			})
		}
	})
}

func TestGoldenTinyMistral(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "mistral", "testdata", "tiny-mistral.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases struct {
		Cases []struct {
			PromptIDs []int32 `json:"prompt_ids"`
			GreedyIDs []int32 `json:"greedy_ids"`
		}
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	var prompts [][]int32
	for _, c := range cases.Cases {
		prompts = append(prompts, c.PromptIDs)
	}
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		m := loadModel(t, b, filepath.Join("..", "..", "models", "tiny-mistral"))
		answers := generate(t, newGenerator(t, m, 2, 64), prompts, nil, Options{MaxNewTokens: 40, Stop: []int32{2}})
		for i, c := range cases.Cases {
			want := c.GreedyIDs[:len(c.GreedyIDs)-1] // without </s>
			if !slices.Equal(answers[i].IDs, want) || answers[i].End != Stopped {
				t.Errorf("prompt %d: got %v, %s, want %v, stop", i, answers[i].IDs, answers[i].End, want)
			}
		}
	})
}

// awkward returns a model of random weights and an adapter for it.
func awkward(t testing.TB, b ops.Backend) (*mistral.Model, *lora.Adapter) {
	t.Helper()
	m := loadModel(t, b, mistraltest.Write(t, mistraltest.Awkward, nil))
	a, err := lora.New(b, m.Config.Base(), lora.Config{Rank: 3, Alpha: 3}, 5)
	if err != nil {
		t.Fatal(err)
	}
	mistraltest.Fill(a)
	t.Cleanup(a.Free)
	return m, a
}

func somePrompts(n int) [][]int32 {
	var prompts [][]int32
	for i := range n {
		var p []int32
		for j := range 1 + i*7%11 {
			p = append(p, int32((i*5+j*j*3+j)%23))
		}
		prompts = append(prompts, p)
	}
	return prompts
}

func TestAnswersDoNotDependOnTheBatch(t *testing.T) {
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		m, a := awkward(t, b)
		prompts := somePrompts(17)
		o := Options{MaxNewTokens: 15, Stop: []int32{3, 11}}
		var want []Answer
		alone := newGenerator(t, m, 1, 32)
		for _, p := range prompts {
			want = append(want, generate(t, alone, [][]int32{p}, a, o)...)
		}
		ends := map[End]int{}
		for _, slots := range []int{1, 2, 5, 16, 40} {
			g := newGenerator(t, m, slots, 32)
			for _, reversed := range []bool{false, true} {
				order := slices.Clone(prompts)
				if reversed {
					slices.Reverse(order)
				}
				got := generate(t, g, order, a, o)
				if reversed {
					slices.Reverse(got)
				}
				for i := range want {
					ends[want[i].End]++
					if !slices.Equal(got[i].IDs, want[i].IDs) || got[i].End != want[i].End {
						t.Errorf("%d slots, reversed %t, prompt %d: got %v, want %v", slots, reversed, i, got[i], want[i])
					}
				}
			}
		}
		if ends[Stopped] == 0 || ends[TooLong] == 0 {
			t.Errorf("the prompts do not end in both ways: %v", ends)
		}
	})
}

func TestWorkersDoNotChangeAnswers(t *testing.T) {
	for _, tier := range tiers() {
		var want []Answer
		for _, workers := range []int{1, 3} {
			m, a := awkward(t, openTier(t, tier, workers))
			got := generate(t, newGenerator(t, m, 4, 32), somePrompts(9), a, Options{MaxNewTokens: 15})
			if want == nil {
				want = got
			} else if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s with %d workers: got %v, want %v", tier, workers, got, want)
			}
		}
	}
}

func TestTokensAreStreamedInOrder(t *testing.T) {
	m, a := awkward(t, ops.NewReference())
	prompts := somePrompts(7)
	streamed := make([][]int32, len(prompts))
	told := make([]Answer, len(prompts))
	answers := generate(t, newGenerator(t, m, 3, 32), prompts, a, Options{MaxNewTokens: 9, Stop: []int32{3},
		OnToken:  func(i int, id int32) { streamed[i] = append(streamed[i], id) },
		OnAnswer: func(i int, a Answer) { told[i] = a }})
	for i, answer := range answers {
		if !slices.Equal(streamed[i], answer.IDs) || !slices.Equal(told[i].IDs, answer.IDs) || told[i].End != answer.End {
			t.Errorf("prompt %d: streamed %v, told %v, answered %v", i, streamed[i], told[i], answer)
		}
	}
}

func TestAnswersEndWherePositionsDo(t *testing.T) {
	m, _ := awkward(t, ops.NewReference())
	prompt := somePrompts(9)[8]
	long := generate(t, newGenerator(t, m, 1, 32), [][]int32{prompt}, nil, Options{MaxNewTokens: 30})[0]
	g := newGenerator(t, m, 1, len(prompt)+2)
	short := generate(t, g, [][]int32{prompt}, nil, Options{MaxNewTokens: 30})[0]
	// The last token needs no place in the cache.
	if len(short.IDs) != 3 || short.End != TooLong || !slices.Equal(short.IDs, long.IDs[:3]) {
		t.Errorf("got %v, want the first 3 of %v", short, long.IDs)
	}
	full := generate(t, newGenerator(t, m, 1, len(prompt)), [][]int32{prompt}, nil, Options{MaxNewTokens: 30})[0]
	if len(full.IDs) != 1 || full.End != TooLong {
		t.Errorf("got %v, want one token", full)
	}
	if none := generate(t, g, [][]int32{prompt}, nil, Options{})[0]; len(none.IDs) != 0 || none.End != TooLong {
		t.Errorf("got %v, want no token", none)
	}
}

func TestAdaptersDoNotLeakIntoTheBase(t *testing.T) {
	m, a := awkward(t, ops.NewReference())
	g := newGenerator(t, m, 2, 32)
	prompts, o := somePrompts(5), Options{MaxNewTokens: 12}
	base := generate(t, g, prompts, nil, o)
	adapted := generate(t, g, prompts, a, o)
	again := generate(t, g, prompts, nil, o)
	if fmt.Sprint(base) != fmt.Sprint(again) {
		t.Error("the base answers differently after an adapter was used")
	}
	if fmt.Sprint(base) == fmt.Sprint(adapted) {
		t.Error("the adapter changes nothing")
	}
}

func TestLogitsThatAreNotFiniteEndOneAnswerAlone(t *testing.T) {
	m, a := awkward(t, ops.NewReference())
	g := newGenerator(t, m, 2, 32)
	poisoned, err := lora.New(m.Backend(), m.Config.Base(), lora.Config{Rank: 1, Alpha: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	values := poisoned.Snapshot()
	values[len(values)-1] = float32(math.Inf(1))
	poisoned.Restore(values)
	for _, answer := range generate(t, g, somePrompts(3), poisoned, Options{MaxNewTokens: 5}) {
		if answer.End != NotFinite {
			t.Errorf("got %v, want not finite", answer)
		}
	}
	for _, answer := range generate(t, g, somePrompts(3), a, Options{MaxNewTokens: 5}) {
		if answer.End == NotFinite {
			t.Error("a broken adapter spoils what follows")
		}
	}
}

func TestGenerateStopsBetweenSteps(t *testing.T) {
	m, a := awkward(t, ops.NewReference())
	ctx, cancel := context.WithCancel(context.Background())
	tokens := 0
	answers, err := newGenerator(t, m, 2, 32).Generate(ctx, somePrompts(4), a, Options{MaxNewTokens: 20, OnToken: func(int, int32) {
		if tokens++; tokens == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want cancelled", err)
	}
	if tokens > 6 || len(answers) != 4 || answers[3].End != "" {
		t.Errorf("%d tokens came, answers %v", tokens, answers)
	}
}

func TestGenerateRefusesPrompts(t *testing.T) {
	m, _ := awkward(t, ops.NewReference())
	g := newGenerator(t, m, 2, 8)
	for _, c := range []struct {
		prompt []int32
		want   string
	}{
		{nil, "prompt 1: it is empty"},
		{make([]int32, 9), "prompt 1: 9 tokens, there is room for 8"},
		{[]int32{23}, "prompt 1: token 0 is 23, the base has 23"},
		{[]int32{-1}, "token 0 is -1"},
	} {
		_, err := g.Generate(context.Background(), [][]int32{{1}, c.prompt}, nil, Options{MaxNewTokens: 1})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := New(m, 1, 33); err == nil || !strings.Contains(err.Error(), "made for up to 32") {
		t.Errorf("got %v", err)
	}
}
