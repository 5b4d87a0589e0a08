package mistral

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/runtime/lora"
	"pipe/runtime/mistral/mistraltest"
	"pipe/runtime/nf4"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

func TestLoadListsEveryWrongTensor(t *testing.T) {
	dir := writeModel(t, tinyConfig, func(tensors map[string][]int) {
		delete(tensors, "model.layers.1.mlp.up_proj.weight")
		delete(tensors, "lm_head.weight")
		tensors["model.layers.0.self_attn.k_proj.weight"] = []int{3, 12}
		tensors["model.layers.0.self_attn.q_proj.bias"] = []int{24}
		tensors["model.layers.3.mlp.up_proj.weight"] = []int{2, 2}
		tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = []int{3} // old files have it
	})
	_, err := Load(ops.NewReference(), dir)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"tensor model.layers.1.mlp.up_proj.weight is missing",
		"tensor lm_head.weight is missing",
		"tensor model.layers.0.self_attn.k_proj.weight: shape [3 12], config.json asks for [12 12]",
		"tensor model.layers.0.self_attn.q_proj.bias belongs to no Mistral",
		"tensor model.layers.3.mlp.up_proj.weight belongs to no Mistral",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "inv_freq") {
		t.Errorf("the rotary frequencies of old checkpoints are refused:\n%v", err)
	}
}

func TestLoadShortensALongList(t *testing.T) {
	dir := writeModel(t, tinyConfig, func(tensors map[string][]int) { clear(tensors) })
	_, err := Load(ops.NewReference(), dir)
	if err == nil || !strings.Contains(err.Error(), "… and 10 more") {
		t.Errorf("got %v", err)
	}
}

func TestLoadTakesAHeadBesideTiedEmbeddingsIfItIsTheSame(t *testing.T) {
	c := tinyConfig
	c.Tied = true
	dir := writeModel(t, c, func(tensors map[string][]int) { tensors["lm_head.weight"] = []int{c.Vocabulary, c.Width} })
	if _, err := Load(ops.NewReference(), dir); err == nil || !strings.Contains(err.Error(), "lm_head.weight differs from model.embed_tokens.weight") {
		t.Errorf("another head: got %v", err)
	}
	mistraltest.Rewrite(t, dir, func(tensors map[string]*safetensors.Tensor) {
		tensors["lm_head.weight"].Data = tensors["model.embed_tokens.weight"].Data
	})
	m, err := Load(ops.NewReference(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.head.Dense != m.embed {
		t.Error("the head is not the embedding")
	}
}

func TestLoadRefusesWhatIsNotFinite(t *testing.T) {
	dir := writeModel(t, tinyConfig, nil)
	mistraltest.Rewrite(t, dir, func(tensors map[string]*safetensors.Tensor) {
		copy(tensors["model.norm.weight"].Data[4:], []byte{0, 0, 0xc0, 0x7f})
	})
	if _, err := Load(ops.NewReference(), dir); err == nil || !strings.Contains(err.Error(), "tensor model.norm.weight: value 1 is NaN") {
		t.Errorf("got %v", err)
	}
}

func TestLoadSaysWhatAFolderLacks(t *testing.T) {
	dir := writeModel(t, tinyConfig, nil)
	if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(ops.NewReference(), dir); err == nil || !strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("got %v", err)
	}
}

func TestLoadTakesEveryFormOfNF4(t *testing.T) {
	plain := writeModel(t, tinyConfig, nil)
	for _, c := range []struct {
		name    string
		dtype   safetensors.DType
		options nf4.Options
		dense   bool // has no form in four bits
	}{
		{"float32", safetensors.F32, nf4.Options{}, false},
		{"double", safetensors.F32, nf4.Options{Double: true}, false},
		{"bfloat16", safetensors.BF16, nf4.Options{Double: true}, false},
		{"float16", safetensors.F16, nf4.Options{}, true},
		{"blocks of 128", safetensors.F32, nf4.Options{BlockSize: 128}, false},
		{"blocks of 32", safetensors.BF16, nf4.Options{BlockSize: 32}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := mistraltest.Quantize(t, plain, c.dtype, c.options)
			m, err := Load(ops.NewReference(), dir)
			if err != nil {
				t.Fatal(err)
			}
			files, err := safetensors.OpenModel(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			for layer := range tinyConfig.Layers {
				for l := range lora.Linear(lora.Linears) {
					stored, err := nf4.Read(files, linearName(layer, l))
					if err != nil {
						t.Fatal(err)
					}
					want := make([]float32, stored.Count())
					stored.Dequantize(want, 1)
					got, err := m.Merge(nil, layer, l)
					if err != nil {
						t.Fatal(err)
					}
					within(t, stored.Name, got, want, 0)
					if dense := m.Linear(layer, l).Dense != nil; dense != c.dense {
						t.Errorf("%s: dense %t, want %t", stored.Name, dense, c.dense)
					}
				}
			}
		})
	}
}

func TestLoadRefusesBrokenNF4(t *testing.T) {
	c := tinyConfig
	dir := mistraltest.Quantize(t, writeModel(t, c, nil), safetensors.F32, nf4.Options{})
	c.FeedForward = 24
	text, err := os.ReadFile(filepath.Join(writeModel(t, c, nil), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Load(ops.NewReference(), dir)
	for _, want := range []string{"mlp.gate_proj.weight: shape [20 12], config.json asks for [24 12]", "model.layers.2.mlp.down_proj.weight"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in %v", want, err)
		}
	}
}
