package mistral

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"pipe/internal/golden"
	"pipe/runtime/cpu"
	"pipe/runtime/lora"
	"pipe/runtime/ops"
	"pipe/runtime/ops/opstest"
	"pipe/runtime/safetensors"
)

// readJSON reads a JSON file of the model goldens.
func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(golden.Read(t, "model/"+name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// tensorsOf opens a safetensors file of the model goldens.
func tensorsOf(t testing.TB, name string) *tensors {
	t.Helper()
	f, err := safetensors.Open(golden.Path(t, "model/"+name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &tensors{t, f}
}

type tensors struct {
	t testing.TB
	*safetensors.File
}

func (f *tensors) floats(name string) []float32 {
	f.t.Helper()
	values, err := f.Float32s(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return values
}

func (f *tensors) ints(name string) []int64 {
	f.t.Helper()
	values, err := f.Int64s(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return values
}

// sample is ids and labels of a golden, as a batch's sample.
type sample struct {
	ids      []int32
	isTarget []bool
}

func (f *tensors) sample(name string) sample {
	f.t.Helper()
	var s sample
	labels := f.ints(name + ".labels")
	for i, id := range f.ints(name + ".input_ids") {
		s.ids = append(s.ids, int32(id))
		s.isTarget = append(s.isTarget, labels[i] != -100)
	}
	return s
}

func (s sample) batch() *Batch {
	b := &Batch{}
	b.Add(s.ids, s.isTarget)
	return b
}

// load reads a model folder of the goldens.
func load(t testing.TB, b ops.Backend, name string) *Model {
	t.Helper()
	m, err := Load(b, golden.Path(t, "model/"+name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func readAdapter(t testing.TB, m *Model, name string) *lora.Adapter {
	t.Helper()
	a, err := lora.Read(m.backend, m.Config.Base(), golden.Path(t, "model/"+name))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.NeedGrads(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Free)
	return a
}

func newPass(t testing.TB, m *Model, a *lora.Adapter, rows int) *Pass {
	t.Helper()
	p, err := NewPass(m, a, rows)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Free)
	return p
}

// within fails the test if an element of got is further than tolerance from want.
func within(t testing.TB, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d values, want %d", what, len(got), len(want))
	}
	worst, at := 0.0, 0
	for i := range got {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tolerance) {
		t.Errorf("%s: element %d is %g, want %g: off by %g, allowed %g", what, at, got[at], want[at], worst, tolerance)
	}
}

func near(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %.9g, want %.9g: off by %g, allowed %g", what, got, want, math.Abs(got-want), tolerance)
	}
}

// figures are what the goldens say about a set of supervised positions.
type figures struct {
	Supervised  int
	LossSum     float64  `json:"loss_sum"`
	LossMean    *float64 `json:"loss_mean"`
	EntropyMean *float64 `json:"entropy_mean"`
	Correct     int
	NearTies    int `json:"near_ties"`
}

// check compares measures with their sums.
func (f figures) check(t testing.TB, m Measures) {
	t.Helper()
	if len(m.Loss) != f.Supervised {
		t.Fatalf("got %d supervised rows, want %d", len(m.Loss), f.Supervised)
	}
	if f.Supervised == 0 {
		return
	}
	n := float64(f.Supervised)
	near(t, "loss", sum(m.Loss)/n, *f.LossMean, 2e-5)
	near(t, "entropy", sum(m.Entropy)/n, *f.EntropyMean, 2e-5)
	near(t, "correct", sum(m.Correct), float64(f.Correct), float64(f.NearTies))
}

func sum(values []float32) float64 {
	var s float64
	for _, v := range values {
		s += float64(v)
	}
	return s
}

// onEachBackend runs a test on the reference, with buffers that the host cannot
// read, and on every tier of the CPU.
func onEachBackend(t *testing.T, test func(t *testing.T, b ops.Backend)) {
	t.Run("sealed", func(t *testing.T) { test(t, opstest.Sealed(ops.NewReference())) })
	for _, tier := range tiers() {
		t.Run(tier, func(t *testing.T) {
			b, err := cpu.Open(tier, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			test(t, b)
		})
	}
}

// tiers are those of the CPU, in a short test the fastest alone.
func tiers() []string {
	if testing.Short() {
		return cpu.Tiers()[:1]
	}
	return cpu.Tiers()
}

func TestGoldenForward(t *testing.T) {
	var cases struct {
		Cases []struct {
			figures
			Name, Model string
			Hidden      []string
		}
	}
	readJSON(t, "forward.json", &cases)
	file := tensorsOf(t, "forward.safetensors")
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		for _, c := range cases.Cases {
			t.Run(c.Name, func(t *testing.T) {
				m, s := load(t, b, c.Model), file.sample(c.Name)
				p := newPass(t, m, nil, len(s.ids))
				p.Forward(s.batch(), ops.Dropout{})
				logits, err := p.Logits()
				if err != nil {
					t.Fatal(err)
				}
				within(t, "logits", logits, file.floats(c.Name+".logits"), 1e-4)
				for _, name := range c.Hidden {
					within(t, name, p.hidden(t, name), file.floats(c.Name+".hidden."+name), 1e-4)
				}
				measures := p.Measure()
				c.check(t, measures)
				loss, entropy := file.floats(c.Name+".token_loss"), file.floats(c.Name+".token_entropy")
				for i, row := range p.batch.Supervised {
					near(t, "token loss", float64(measures.Loss[i]), float64(loss[row+1]), 2e-5)
					near(t, "token entropy", float64(measures.Entropy[i]), float64(entropy[row+1]), 2e-5)
				}
			})
		}
	})
}

// hidden gives a hidden state by its name in forward.json.
func (p *Pass) hidden(t *testing.T, name string) []float32 {
	switch name {
	case "embed":
		return p.Hidden(0)
	case "final_norm":
		return p.Final()
	}
	for i := range p.layers {
		if name == fmt.Sprint("layer", i) {
			return p.Hidden(i + 1)
		}
	}
	t.Fatalf("unknown hidden state %q", name)
	return nil
}

func TestGoldenPacked(t *testing.T) {
	var cases struct {
		Cases []struct {
			figures
			Name, Model string
			Lengths     []int
			Samples     []figures
		}
	}
	readJSON(t, "packed.json", &cases)
	file := tensorsOf(t, "packed.safetensors")
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		for _, c := range cases.Cases {
			t.Run(c.Name, func(t *testing.T) {
				m, all := load(t, b, c.Model), file.sample(c.Name)
				batch, rest := &Batch{}, all
				var alone []sample
				for _, n := range c.Lengths {
					s := sample{rest.ids[:n], rest.isTarget[:n]}
					rest = sample{rest.ids[n:], rest.isTarget[n:]}
					alone = append(alone, s)
					batch.Add(s.ids, s.isTarget)
				}
				p := newPass(t, m, nil, batch.Rows())
				p.Forward(batch, ops.Dropout{})
				logits, err := p.Logits()
				if err != nil {
					t.Fatal(err)
				}
				within(t, "logits", logits, file.floats(c.Name+".logits"), 1e-4)
				measures := p.Measure()
				c.check(t, measures)
				packed := append([]float32(nil), measures.Loss...)
				goldenAlone := file.floats(c.Name + ".token_loss_alone")
				for i, row := range batch.Supervised {
					near(t, "packed against alone", float64(packed[i]), float64(goldenAlone[row+1]), 2e-5)
				}
				// Alone, a sample must give the very bits that it gave in the batch.
				for i, s := range alone {
					p.Forward(s.batch(), ops.Dropout{})
					measures := p.Measure()
					c.Samples[i].check(t, measures)
					for j, loss := range measures.Loss {
						if loss != packed[j] {
							t.Errorf("sample %d, target %d: loss %g alone, %g packed", i, j, loss, packed[j])
						}
					}
					packed = packed[len(measures.Loss):]
				}
			})
		}
	})
}

func TestGoldenLoRA(t *testing.T) {
	var cases struct {
		Cases []struct {
			figures
			Name, Model, Adapter string
			Loss                 float64
			GradNorm             float64 `json:"grad_norm"`
		}
	}
	readJSON(t, "lora.json", &cases)
	file := tensorsOf(t, "lora.safetensors")
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		for _, c := range cases.Cases {
			t.Run(c.Name, func(t *testing.T) {
				m, s := load(t, b, c.Model), file.sample(c.Name)
				a := readAdapter(t, m, c.Adapter)
				p := newPass(t, m, a, len(s.ids))
				p.Forward(s.batch(), ops.Dropout{})
				logits, err := p.Logits()
				if err != nil {
					t.Fatal(err)
				}
				within(t, "logits", logits, file.floats(c.Name+".logits"), 1e-4)
				measures := p.Backward(1 / float32(c.Supervised))
				c.check(t, measures)
				near(t, "loss", sum(measures.Loss)/float64(c.Supervised), c.Loss, 2e-5)
				checkGradients(t, a, func(name string) []float32 { return file.floats(c.Name + ".grad." + name) }, c.GradNorm)
			})
		}
	})
}

func checkGradients(t *testing.T, a *lora.Adapter, want func(name string) []float32, norm float64) {
	t.Helper()
	grads := make([]float32, a.Grads.Len())
	a.Backend().Download(grads, a.Grads)
	var total float64
	a.Tensors(func(name string, shape [2]int, offset int) {
		got, golden := grads[offset:][:shape[0]*shape[1]], want(name)
		var difference, size float64
		for i := range got {
			d := float64(got[i]) - float64(golden[i])
			difference += d * d
			size += float64(golden[i]) * float64(golden[i])
			total += float64(got[i]) * float64(got[i])
		}
		if !(math.Sqrt(difference) <= 1e-4*math.Sqrt(size)) {
			t.Errorf("gradient of %s is off by %g of its norm, allowed 1e-4", name, math.Sqrt(difference/size))
		}
	})
	near(t, "grad_norm", math.Sqrt(total), norm, 1e-5*norm)
}

// TestGoldenAdaptersAreWrittenAsPEFTWritesThem reads what PEFT wrote and writes it
// again: the tensors byte for byte, the config in every key that ours has.
func TestGoldenAdaptersAreWrittenAsPEFTWritesThem(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(golden.Path(t, "model/adapters"), "*", "adapter_config.json"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no adapters: %v", err)
	}
	b := ops.NewReference()
	for _, file := range folders {
		dir := filepath.Dir(file)
		var theirs, ours map[string]any
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &theirs); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(golden.Path(t, "model/"+theirs["base_model_name_or_path"].(string)))
		if err != nil {
			t.Fatal(err)
		}
		a, err := lora.Read(b, c.Base(), dir)
		if err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		if err := a.Write(to); err != nil {
			t.Fatal(err)
		}
		const tensors = "adapter_model.safetensors"
		want, err := os.ReadFile(filepath.Join(dir, tensors))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(to, tensors))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the tensors differ from PEFT's file", dir)
		}
		if err := json.Unmarshal(a.JSON(), &ours); err != nil {
			t.Fatal(err)
		}
		for key, value := range ours {
			list, isList := theirs[key].([]any)
			switch {
			case key == "peft_version":
			case isList: // PEFT writes targets in the order of a set
				if len(list) != len(value.([]any)) {
					t.Errorf("%s: %s is %v, want %v", dir, key, value, list)
				}
			case fmt.Sprint(value) != fmt.Sprint(theirs[key]):
				t.Errorf("%s: %s is %v, want %v", dir, key, value, theirs[key])
			}
		}
	}
}

func TestGoldenMerge(t *testing.T) {
	var c struct {
		Model, Adapter string
		Tensors        []string
	}
	readJSON(t, "merge.json", &c)
	file := tensorsOf(t, "merge.safetensors")
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		m := load(t, b, c.Model)
		a := readAdapter(t, m, c.Adapter)
		for _, name := range c.Tensors {
			found := false
			for layer := range m.layers {
				for l := range lora.Linear(lora.Linears) {
					if linearName(layer, l) != name {
						continue
					}
					found = true
					got, err := m.Merge(a, layer, l)
					if err != nil {
						t.Fatal(err)
					}
					within(t, name, got, file.floats(name), 1e-6)
				}
			}
			if !found {
				t.Errorf("no linear is called %s", name)
			}
		}
	})
}

// TestGoldenTinyMistral is the case of tied embeddings, in bfloat16.
func TestGoldenTinyMistral(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "tiny-mistral.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases struct {
		Cases []struct {
			PromptIDs []int32   `json:"prompt_ids"`
			AnswerIDs []int32   `json:"answer_ids"`
			Logits    []float32 `json:"last_prompt_logits_first8"`
			Loss      float64
		}
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	onEachBackend(t, func(t *testing.T, b ops.Backend) {
		m, err := Load(b, filepath.Join("..", "..", "models", "tiny-mistral"))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		p := newPass(t, m, nil, 64)
		for _, c := range cases.Cases {
			s := sample{ids: append(c.PromptIDs, c.AnswerIDs...)}
			for i := range s.ids {
				s.isTarget = append(s.isTarget, i >= len(c.PromptIDs))
			}
			p.Forward(s.batch(), ops.Dropout{})
			logits, err := p.Logits()
			if err != nil {
				t.Fatal(err)
			}
			last := logits[(len(c.PromptIDs)-1)*m.Config.Vocabulary:]
			within(t, "logits", last[:len(c.Logits)], c.Logits, 1e-4)
			measures := p.Measure()
			near(t, "loss", sum(measures.Loss)/float64(len(c.AnswerIDs)), c.Loss, 2e-5)
		}
	})
}
