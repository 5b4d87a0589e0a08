// Package mistraltest makes models of random weights for tests.
package mistraltest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/runtime/lora"
	"pipe/runtime/nf4"
	"pipe/runtime/safetensors"
)

// Sizes are those of a model; the names are mistral.Config's.
type Sizes struct {
	Width, Layers, Heads, KVHeads, HeadDim, FeedForward, Vocabulary, Positions, Window int

	Tied bool
}

// Awkward has grouped heads that are wider than the model, a window, and nothing
// that is a multiple of eight.
var Awkward = Sizes{Width: 12, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 6, FeedForward: 20, Vocabulary: 23, Positions: 32, Window: 5}

// Eps and Theta are rms_norm_eps and rope_theta of every model here.
const (
	Eps   = 1e-5
	Theta = 100
)

// Write writes a model folder in F32 and returns its path. The weights are the same
// every time. change, if not nil, may alter which tensors are written, and their
// shapes, before.
func Write(t testing.TB, s Sizes, change func(shapes map[string][]int)) string {
	t.Helper()
	dir := t.TempDir()
	config := map[string]any{
		"architectures": []string{"MistralForCausalLM"}, "hidden_size": s.Width, "num_hidden_layers": s.Layers,
		"num_attention_heads": s.Heads, "num_key_value_heads": s.KVHeads, "head_dim": s.HeadDim,
		"intermediate_size": s.FeedForward, "vocab_size": s.Vocabulary, "max_position_embeddings": s.Positions,
		"rms_norm_eps": Eps, "rope_theta": Theta, "sliding_window": nil, "tie_word_embeddings": s.Tied,
	}
	if s.Window > 0 {
		config["sliding_window"] = s.Window
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	shapes := s.tensors()
	if change != nil {
		change(shapes)
	}
	var tensors []safetensors.Tensor
	for name, shape := range shapes {
		n, _ := safetensors.Count(shape)
		values := make([]float32, n)
		for i := range values {
			values[i] = Noise(name, i)
			if len(shape) == 1 { // a norm
				values[i] = 1 + values[i]/4
			}
		}
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: shape,
			Data: safetensors.AppendFloat32s(nil, safetensors.F32, values)})
	}
	if err := safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), tensors, safetensors.FormatPT); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s Sizes) tensors() map[string][]int {
	query, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	linears := [lora.Linears][]int{
		lora.Query: {query, s.Width}, lora.Key: {kv, s.Width}, lora.Value: {kv, s.Width}, lora.Output: {s.Width, query},
		lora.Gate: {s.FeedForward, s.Width}, lora.Up: {s.FeedForward, s.Width}, lora.Down: {s.Width, s.FeedForward},
	}
	shapes := map[string][]int{"model.embed_tokens.weight": {s.Vocabulary, s.Width}, "model.norm.weight": {s.Width}}
	if !s.Tied {
		shapes["lm_head.weight"] = []int{s.Vocabulary, s.Width}
	}
	for layer := range s.Layers {
		shapes[fmt.Sprintf("model.layers.%d.input_layernorm.weight", layer)] = []int{s.Width}
		shapes[fmt.Sprintf("model.layers.%d.post_attention_layernorm.weight", layer)] = []int{s.Width}
		for l, shape := range linears {
			shapes[lora.Path(layer, lora.Linear(l))+".weight"] = shape
		}
	}
	return shapes
}

// Quantize writes the model in dir anew, with its linears in NF4, and returns the
// new folder. dtype is the type of the dequantised weights.
func Quantize(t testing.TB, dir string, dtype safetensors.DType, o nf4.Options) string {
	t.Helper()
	from, err := safetensors.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var tensors []safetensors.Tensor
	for _, name := range from.Names() {
		info, _ := from.Info(name)
		values, err := from.Float32s(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_proj.weight") {
			tensors = append(tensors, safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: info.Shape,
				Data: safetensors.AppendFloat32s(nil, safetensors.F32, values)})
			continue
		}
		parts, err := nf4.Pack(name, info.Shape, dtype, values, o)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, parts...)
	}
	to := t.TempDir()
	if err := safetensors.WriteFile(filepath.Join(to, "model.safetensors"), tensors, safetensors.FormatPT); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "config.json"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

// Noise is a number in [-0.7, 0.7) that depends on name and i alone.
func Noise(name string, i int) float32 {
	seed := uint64(len(name))
	for _, c := range name {
		seed = lora.Mix(seed, uint64(c))
	}
	return float32(1.4*lora.Uniform(seed, 0, uint64(i)) - 0.7)
}

// Fill gives every parameter of an adapter another value, so that B is not zero.
func Fill(a *lora.Adapter) {
	values := a.Snapshot()
	for i := range values {
		values[i] += Noise("adapter", i) / 4
	}
	a.Restore(values)
}

// Rewrite changes the tensors of a model's only file, which is in F32.
func Rewrite(t testing.TB, dir string, change func(map[string]*safetensors.Tensor)) {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*safetensors.Tensor{}
	for _, info := range f.Tensors() {
		data, err := f.Copy(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		byName[info.Name] = &safetensors.Tensor{Name: info.Name, DType: info.DType, Shape: info.Shape, Data: data}
	}
	f.Close()
	change(byName)
	var tensors []safetensors.Tensor
	for _, tensor := range byName {
		tensors = append(tensors, *tensor)
	}
	if err := safetensors.WriteFile(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
}
