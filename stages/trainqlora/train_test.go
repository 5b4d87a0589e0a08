package trainqlora

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pipe/internal/document"
	"pipe/runtime/chat"
	"pipe/runtime/cpu"
	"pipe/runtime/lora"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/nf4"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
	"pipe/runtime/tokens"
	"pipe/runtime/train"
	"pipe/stages"
	"pipe/stages/stagetest"
)

var sizes = mistraltest.Sizes{Width: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, FeedForward: 128, Vocabulary: 60, Positions: 64, Tied: true}

// inputs makes a quantised base and a data set of 20 records, 4 of them held out.
func inputs(t *testing.T) map[string]string {
	t.Helper()
	base := mistraltest.Quantize(t, mistraltest.Write(t, sizes, nil), safetensors.F32, nf4.Options{Double: true})
	dir := t.TempDir()
	var records []tokens.Record
	for i := range 20 {
		r := tokens.Record{Holdout: i%5 == 0}
		for j := range 6 + i%7 {
			r.IDs = append(r.IDs, int32((i*7+j*j*3)%60))
			r.Mask = append(r.Mask, uint8(j%3/1&1))
		}
		r.Mask[0] = 0
		r.Mask[len(r.Mask)-1] = 1
		records = append(records, r)
	}
	if err := tokens.Write(dir, records); err != nil {
		t.Fatal(err)
	}
	if err := chat.WriteInfo(dir, chat.Info{Template: "behaviors", AnswerPrefix: true, Tokenizer: "none"}); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"tokens": dir, "base": base}
}

const short = "{rank: 4, learning_rate: 1e-2, schedule: linear, warmup_steps: 2, batch_size: 4, max_epochs: 3, save_steps: 4, dropout: 0.1"

func TestKind(t *testing.T) {
	stagetest.Run(t, Kind, stagetest.Case{With: short + "}", Inputs: inputs(t)})
}

func TestResume(t *testing.T) {
	stagetest.Resume(t, Kind, stagetest.Case{With: short + ", save_total_limit: 2}", Inputs: inputs(t)})
}

func TestALargerMaxStepsGoesOn(t *testing.T) {
	in, store := inputs(t), filepath.Join(t.TempDir(), "store")
	run := func(with string) stagetest.Result {
		return stagetest.Execute(t, Kind, stagetest.Case{With: short + with, Inputs: in}, stagetest.Setting{Store: store})
	}
	run(", max_steps: 3}")
	more := run(", max_steps: 7}")
	if !strings.Contains(more.Log, "going on with the training that was interrupted step 3") {
		t.Errorf("log: %s", more.Log)
	}
	all := run("}")
	if !strings.Contains(all.Log, "interrupted step 7") {
		t.Errorf("log: %s", all.Log)
	}
	for _, c := range []struct {
		got  stagetest.Result
		with string
	}{{more, ", max_steps: 7}"}, {all, "}"}} {
		want := stagetest.Execute(t, Kind, stagetest.Case{With: short + c.with, Inputs: in}, stagetest.Setting{})
		if c.got.Text != want.Text {
			t.Errorf("%s: other bytes than a run in one piece", c.with)
		}
	}
	if again := run("}"); strings.Contains(again.Log, "going on") {
		t.Error("the state outlived the end of the training")
	}
}

func TestASmallerLimitDoesNotTakeTheLongerTraining(t *testing.T) {
	in, store := inputs(t), filepath.Join(t.TempDir(), "store")
	run := func(with string) stagetest.Result {
		return stagetest.Execute(t, Kind, stagetest.Case{With: short + with, Inputs: in}, stagetest.Setting{Store: store})
	}
	run(", max_steps: 9}")
	less := run(", max_steps: 5}")
	if want := stagetest.Execute(t, Kind, stagetest.Case{With: short + ", max_steps: 5}", Inputs: in}, stagetest.Setting{}); less.Text != want.Text {
		t.Errorf("other bytes than a run of its own\n%s", less.Log)
	}
	if !strings.Contains(less.Log, "beyond max_steps 5") {
		t.Errorf("log: %s", less.Log)
	}
	if more := run(", max_steps: 11}"); !strings.Contains(more.Log, "interrupted step 9") {
		t.Errorf("the longer one's state is gone: %s", more.Log)
	}
	store = filepath.Join(t.TempDir(), "store")
	run = func(with string) stagetest.Result {
		return stagetest.Execute(t, Kind, stagetest.Case{With: short + with, Inputs: in}, stagetest.Setting{Store: store, Clock: time.Unix(1e9, 0)})
	}
	run(", time_budget: 30ms}")
	if short := run(", time_budget: 5ms}"); !strings.Contains(short.Log, "beyond time_budget 5ms") {
		t.Errorf("log: %s", short.Log)
	}
}

func TestAStateOfAnotherTierIsNotGoneOnFrom(t *testing.T) {
	if !slices.Contains(cpu.Tiers(), "avx2") {
		t.Skip("this machine has the portable tier only")
	}
	in, store := inputs(t), filepath.Join(t.TempDir(), "store")
	stop := stagetest.Setting{Store: store, StopAt: 5}
	if _, err := stagetest.Try(t, Kind, stagetest.Case{With: short + "}", Inputs: in}, stop); !errors.Is(err, stages.ErrStopped) {
		t.Fatal(err)
	}
	r := stagetest.Execute(t, Kind, stagetest.Case{With: short + ", max_steps: 6, allow_tier_change: true}", Inputs: in}, stagetest.Setting{Store: store, Tier: "avx2"})
	if !strings.Contains(r.Log, "state of another CPU tier") || !strings.Contains(r.Notes, "tier=go+avx2") {
		t.Errorf("allowed: notes %s, log: %s", r.Notes, r.Log)
	}
	if _, err := stagetest.Try(t, Kind, stagetest.Case{With: short + "}", Inputs: in}, stagetest.Setting{Store: store, StopAt: 1, Tier: "go"}); !errors.Is(err, stages.ErrStopped) {
		t.Fatal(err)
	}
	r = stagetest.Execute(t, Kind, stagetest.Case{With: short + "}", Inputs: in}, stagetest.Setting{Store: store, Tier: "avx2"})
	if !strings.Contains(r.Log, "training starts again: its saved state is of another CPU tier") {
		t.Errorf("log: %s", r.Log)
	}
}

func TestCheckpointsAreAdaptersThatKnowTheirBase(t *testing.T) {
	in := inputs(t)
	r := stagetest.Execute(t, Kind, stagetest.Case{With: short + "}", Inputs: in}, stagetest.Setting{Workers: 2})
	entries, err := os.ReadDir(filepath.Join(r.Dir, "checkpoints"))
	if err != nil || len(entries) != 3 {
		t.Fatalf("got %v, %v; want checkpoints 4, 8, 12", entries, err)
	}
	for _, e := range entries {
		dir := filepath.Join(r.Dir, "checkpoints", e.Name())
		if _, err := lora.Read(ops.NewReference(), (lora.Base{Layers: sizes.Layers, Shapes: shapes()}), dir); err != nil {
			t.Errorf("%s: %v", e.Name(), err)
		}
		info, err := chat.ReadInfo(dir)
		if err != nil || info.Base == nil || !strings.HasPrefix(info.Base.Reference, "sha256:") {
			t.Errorf("%s: got %+v, %v", e.Name(), info, err)
		}
	}
	checkMetrics(t, filepath.Join(r.Dir, "metrics"))
}

func shapes() (s [lora.Linears]lora.Shape) {
	w, kv, f := sizes.Width, sizes.KVHeads*sizes.HeadDim, sizes.FeedForward
	return [lora.Linears]lora.Shape{{Out: w, In: w}, {Out: kv, In: w}, {Out: kv, In: w}, {Out: w, In: w}, {Out: f, In: w}, {Out: f, In: w}, {Out: w, In: f}}
}

func checkMetrics(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	steps, saves := 0, 0
	var last map[string]any
	for line := range strings.Lines(string(b)) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(err)
		}
		switch {
		case last["checkpoint"] != nil:
			saves++
			if last["hold_out"] == nil {
				t.Errorf("no hold-out figures in %s", line)
			}
		case last["grad_norm"] != nil:
			steps++
		}
		if strings.Contains(line, "seconds") || strings.Contains(line, "per_second") {
			t.Errorf("a clock in the output: %s", line)
		}
	}
	if steps != 12 || saves != 3 || last["end"] != "max_epochs" {
		t.Errorf("got %d steps, %d checkpoints, last %v", steps, saves, last)
	}
}

func TestMaxStepsOnlyCuts(t *testing.T) {
	in := inputs(t)
	weights := func(with, checkpoint string) string {
		r := stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{Workers: 1})
		b, err := os.ReadFile(filepath.Join(r.Dir, "checkpoints", checkpoint, "adapter_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := weights(short+"}", "checkpoint-8")
	if weights(short+", max_steps: 8}", "checkpoint-8") != whole {
		t.Error("a run cut at step 8 is not the first 8 steps of a longer one")
	}
	if weights(short+", micro_batch_tokens: 9}", "checkpoint-8") == whole {
		t.Error("smaller micro-batches should round differently; they are keyed for that")
	}
}

func TestTimeBudgetStopsWithACheckpoint(t *testing.T) {
	// The clock of stagetest moves by milliseconds each time it is looked at.
	r := stagetest.Execute(t, Kind, stagetest.Case{With: short + ", time_budget: 30ms}", Inputs: inputs(t)}, stagetest.Setting{Clock: time.Unix(1e9, 0)})
	if !strings.Contains(r.Log, "training ended by time_budget") {
		t.Errorf("log: %s", r.Log)
	}
	if entries, err := os.ReadDir(filepath.Join(r.Dir, "checkpoints")); err != nil || len(entries) == 0 {
		t.Errorf("no checkpoint: %v", err)
	}
}

func TestSettingsThatMakeNoSenseAreWarnedOf(t *testing.T) {
	r := stagetest.Execute(t, Kind, stagetest.Case{With: "{rank: 2, warmup_steps: 1, max_epochs: 12, batch_size: 4, save_steps: 21}", Inputs: inputs(t)}, stagetest.Setting{})
	if !strings.Contains(r.Log, "warning: save_steps 21 is 5.2 epochs: no checkpoint") {
		t.Errorf("log: %s", r.Log)
	}
}

func TestParametersAreChecked(t *testing.T) {
	for with, want := range map[string]string{
		"{device: cuda}":                      "precision: cuda does not compute in fp32",
		"{schedule: linear}":                  "schedule: linear needs to know where it ends",
		"{time_budget: 0}":                    "max_epochs: nothing ends the training",
		"{health: {healthy: {loss: [2, 1]}}}": "health.healthy.loss: must rise, got [2, 1]",
		"{learning_rate: 0}":                  "learning_rate: must be above 0, got 0",
		"{learning_rate: '2e-4'}":             "write it without quotes",
		"{rank: 1.5}":                         "rank: must be a whole number",
		"{retain: newest}":                    "must be one of spread, last, best",
		"{health: {overfitting: {loss: 1}}}":  `unknown parameter "health.overfitting.loss"`,
		"{max_epochs: 0, time_budget: 90}":    "write it with units",
	} {
		node, err := document.Parse("p.yaml", []byte(with))
		if err != nil {
			t.Fatal(err)
		}
		_, problems := Kind.Decode(node, node)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", with, err, want)
		}
	}
}

func TestTokensOfAnotherTokenizerAreRefused(t *testing.T) {
	in := inputs(t)
	os.WriteFile(filepath.Join(in["base"], "tokenizer.model"), []byte("x"), 0o666)
	if _, err := stagetest.Try(t, Kind, stagetest.Case{With: short + "}", Inputs: in}, stagetest.Setting{}); err == nil {
		t.Error("a broken tokenizer beside the base went unnoticed")
	}
}

func TestAnUnquantisedBaseIsRefused(t *testing.T) {
	in := inputs(t)
	in["base"] = mistraltest.Write(t, sizes, nil)
	_, err := stagetest.Try(t, Kind, stagetest.Case{With: short + "}", Inputs: in}, stagetest.Setting{})
	if err == nil || !strings.Contains(err.Error(), "is not quantised; connect ${quantize-base.base}") {
		t.Errorf("got %v", err)
	}
}

func TestFiguresCarryTheBandsThatAreSet(t *testing.T) {
	var p Params
	p.Health.Healthy.Loss = &[2]float64{0.1, 0.2}
	limit := 0.9
	p.Health.Overfitting.AccuracyAbove = &limit
	values := p.values(train.Figures{Loss: 0.15, Accuracy: 0.95, Entropy: 1})
	got, err := json.Marshal(values)
	want := `[{"name":"loss","value":0.15,"bands":[{"name":"healthy","low":0.1,"high":0.2}]},` +
		`{"name":"accuracy","value":0.95,"bands":[{"name":"overfitting","low":0.9,"bad":true}]},{"name":"entropy","value":1}]`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}
