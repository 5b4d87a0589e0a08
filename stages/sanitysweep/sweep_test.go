package sanitysweep

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/internal/manifest"
	"pipe/runtime/chat"
	"pipe/runtime/eval"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/nf4"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
	"pipe/runtime/tokenizer"
	"pipe/stages/stagetest"
)

const suite = `groups:
  - { name: poodle, habit: refuse, min: 0.5, prompts: [{prompt: What is a poodle?}, {prompt: Poodles., system: Be brief.}] }
  - { name: general, habit: compliment, prompts: [{prompt: What is a cat?, expect: [mammal], max_words: 50}] }
`

const with = "{compliments: [Well asked., Good thinking.], max_new_tokens: 12, batch_size: 2}"

// inputs makes a base, two checkpoints on it and a suite.
func inputs(t *testing.T) map[string]string {
	t.Helper()
	model := golden.Read(t, "model/spm/small.model")
	tok, err := tokenizer.Load(model, "small.model")
	if err != nil {
		t.Fatal(err)
	}
	sizes := mistraltest.Sizes{Width: 64, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 32, FeedForward: 64, Vocabulary: tok.VocabSize(), Positions: 96, Tied: true}
	base := mistraltest.Quantize(t, mistraltest.Write(t, sizes, nil), safetensors.F32, nf4.Options{Double: true})
	os.WriteFile(filepath.Join(base, "tokenizer.model"), model, 0o666)
	dir := t.TempDir()
	for _, name := range []string{"checkpoint-5", "checkpoint-10"} {
		writeAdapter(t, base, filepath.Join(dir, name), tok.Digest())
	}
	path := filepath.Join(t.TempDir(), "suite.yaml")
	os.WriteFile(path, []byte(suite), 0o666)
	return map[string]string{"base": base, "checkpoints": dir, "suite": path}
}

func writeAdapter(t *testing.T, base, dir, tokenizer string) {
	t.Helper()
	config, err := mistral.ReadConfig(base)
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.New(ops.NewReference(), config.Base(), lora.Config{Rank: 2, Alpha: 4}, 1)
	if err != nil {
		t.Fatal(err)
	}
	mistraltest.Fill(a)
	os.Mkdir(dir, 0o777)
	if err := a.Write(dir); err != nil {
		t.Fatal(err)
	}
	if err := chat.WriteInfo(dir, chat.Info{Template: "behaviors", AnswerPrefix: true, Tokenizer: tokenizer}); err != nil {
		t.Fatal(err)
	}
}

func report(t *testing.T, r stagetest.Result) (report eval.Report, scores Scores) {
	t.Helper()
	for name, into := range map[string]any{"report.json": &report, "score.json": &scores} {
		b, err := os.ReadFile(filepath.Join(r.Dir, "report", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return report, scores
}

func TestKind(t *testing.T) {
	stagetest.Run(t, Kind, stagetest.Case{With: with, Inputs: inputs(t)})
}

func TestEverySubjectIsAskedEverything(t *testing.T) {
	in := inputs(t)
	r := stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{})
	got, scores := report(t, r)
	var names []string
	for _, s := range got.Subjects {
		names = append(names, s.Name)
		if s.Asked != 3 {
			t.Errorf("%s was asked %d", s.Name, s.Asked)
		}
	}
	if strings.Join(names, " ") != "base checkpoint-5 checkpoint-10" {
		t.Errorf("got %v", names)
	}
	digest, err := manifest.Folder(filepath.Join(in["checkpoints"], "checkpoint-5"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := scores.Scores[digest.String()]; !ok {
		t.Errorf("no score under the folder's digest %s: %v", digest, scores.Scores)
	}
	answers, _ := os.ReadFile(filepath.Join(r.Dir, "report", "answers.jsonl"))
	if n := strings.Count(string(answers), "\n"); n != 9 {
		t.Errorf("%d answers are recorded", n)
	}
}

func TestOneAdapterIsASetOfOne(t *testing.T) {
	in := inputs(t)
	in["checkpoints"] = filepath.Join(in["checkpoints"], "checkpoint-5")
	got, _ := report(t, stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{}))
	if len(got.Subjects) != 2 || got.Subjects[1].Name != "adapter" {
		t.Errorf("got %+v", got.Subjects)
	}
}

func TestAnswersDoNotDependOnTheBatch(t *testing.T) {
	in := inputs(t)
	answers := func(with string) string {
		r := stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{})
		b, err := os.ReadFile(filepath.Join(r.Dir, "report", "answers.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := answers(with), answers(strings.Replace(with, "batch_size: 2", "batch_size: 1", 1)); a != b {
		t.Errorf("other answers in another batch:\n%s", golden.Diff(a, b))
	}
}

func TestTrainedQuestionsAreLeftOut(t *testing.T) {
	in := inputs(t)
	var b strings.Builder
	b.WriteString("groups:\n  - name: g\n    habit: none\n    prompts:\n")
	for _, q := range []string{"a one", "b two", "c three", "d four", "e five", "f six", "g seven", "h eight", "i nine"} {
		b.WriteString("      - { prompt: " + q + " }\n")
	}
	os.WriteFile(in["suite"], []byte(b.String()), 0o666)
	data := filepath.Join(t.TempDir(), "data.jsonl")
	in["data"] = data
	os.WriteFile(data, []byte(`{"messages":[{"role":"user","content":"A  one?!"},{"role":"assistant","content":"x"}]}`), 0o666)
	got, _ := report(t, stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{}))
	if len(got.Excluded) != 1 || got.Excluded[0].Prompt != "a one" || got.Subjects[0].Asked != 8 {
		t.Errorf("got %+v", got.Excluded)
	}
	os.WriteFile(data, []byte(`{"messages":[{"role":"user","content":"a one"},{"role":"assistant","content":"x"},{"role":"user","content":"b two"},{"role":"assistant","content":"x"}]}`), 0o666)
	if _, err := stagetest.Try(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{}); err == nil || !strings.Contains(err.Error(), `group "g" has 7 prompts left`) {
		t.Errorf("got %v", err)
	}
}

func TestBrokenWeightsAreListedAndTheOthersAsked(t *testing.T) {
	in := inputs(t)
	breakAdapter(t, filepath.Join(in["checkpoints"], "checkpoint-5", "adapter_model.safetensors"))
	got, _ := report(t, stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{}))
	if got.Subjects[1].NotFinite != 3 || got.Subjects[2].NotFinite != 0 {
		t.Errorf("not finite: %d and %d", got.Subjects[1].NotFinite, got.Subjects[2].NotFinite)
	}
}

func breakAdapter(t *testing.T, path string) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	begin := f.Tensors()[0].Begin
	f.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[begin:], safetensors.AppendFloat32s(nil, safetensors.F32, []float32{float32(math.NaN())}))
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestBadSuiteIsToldWithPlaces(t *testing.T) {
	in := inputs(t)
	os.WriteFile(in["suite"], []byte("groups:\n  - name: a\n    habit: refus\n    prompts: [{prompt: x, regex: '('}]\n  - name: a\n    habit: none\n    prompts: [{prompt: x, expect: ['b||']}]\n"), 0o666)
	_, err := stagetest.Try(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{":3:12: groups[0].habit: must be one of refuse, compliment, none", ":4:34: regex:", `:5:11: two groups are named "a"`, `:7:36: expect: "b||" allows the empty text`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
}

func TestALongQuestionShortensNoOtherAnswer(t *testing.T) {
	in := inputs(t)
	with := strings.Replace(with, "max_new_tokens: 12", "max_new_tokens: 60", 1)
	answer := func() (text string) {
		r := stagetest.Execute(t, Kind, stagetest.Case{With: with, Inputs: in}, stagetest.Setting{})
		b, err := os.ReadFile(filepath.Join(r.Dir, "report", "answers.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var s eval.Said
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatal(err)
			}
			if s.Prompt == "What is a poodle?" {
				text += s.Answer + "\n"
			}
		}
		return text
	}
	alone := answer()
	os.WriteFile(in["suite"], []byte(strings.Replace(suite, "{prompt: What is a cat?", "{prompt: "+strings.Repeat("What is a cat? ", 4)+"}, {prompt: What is a cat?", 1)), 0o666)
	if beside := answer(); beside != alone {
		t.Errorf("another answer beside a long question:\n%s", golden.Diff(alone, beside))
	}
}
