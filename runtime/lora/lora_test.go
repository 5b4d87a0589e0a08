package lora

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/internal/jsonfile"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// small is a base whose linears all have different shapes where they can.
var small = Base{Layers: 2, Shapes: [Linears]Shape{
	Query: {12, 8}, Key: {6, 8}, Value: {6, 8}, Output: {8, 12}, Gate: {20, 8}, Up: {20, 8}, Down: {8, 20},
}}

func newAdapter(t *testing.T, c Config, seed uint64) *Adapter {
	t.Helper()
	a, err := New(ops.NewReference(), small, c, seed)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNewChangesNothingYet(t *testing.T) {
	a := newAdapter(t, Config{Rank: 3, Alpha: 6}, 1)
	values := a.Snapshot()
	a.Tensors(func(name string, shape [2]int, offset int) {
		part := values[offset:][:shape[0]*shape[1]]
		var sum, highest float64
		for _, x := range part {
			sum += math.Abs(float64(x))
			highest = max(highest, math.Abs(float64(x)))
		}
		bound := 1 / math.Sqrt(float64(shape[1]))
		switch isB := strings.Contains(name, "lora_B"); {
		case isB && sum != 0:
			t.Errorf("%s is not zero", name)
		case !isB && (highest > bound || highest < 0.7*bound || math.Abs(sum/float64(len(part))/bound-0.5) > 0.25):
			t.Errorf("%s: mean of sizes %g, highest %g, for a uniform distribution up to %g", name, sum/float64(len(part)), highest, bound)
		}
	})
}

func TestNewIsAPureFunctionOfTheSeed(t *testing.T) {
	all := newAdapter(t, Config{Rank: 2, Alpha: 2}, 7).Snapshot()
	if again := newAdapter(t, Config{Rank: 2, Alpha: 2}, 7).Snapshot(); !slices.Equal(all, again) {
		t.Error("the same seed gives other bits")
	}
	if other := newAdapter(t, Config{Rank: 2, Alpha: 2}, 8).Snapshot(); slices.Equal(all, other) {
		t.Error("another seed gives the same bits")
	}
	// Pinned, so that no machine and no later version gives other bits.
	want := []uint32{0x3e206397, 0x3dd8cb82, 0x3d0f00d2}
	got := make([]uint32, 3)
	for i := range got {
		got[i] = math.Float32bits(all[i])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %#x, want %#x", got, want)
	}
	part := newAdapter(t, Config{Rank: 2, Alpha: 2, Targets: []Linear{Down}}, 7)
	full := newAdapter(t, Config{Rank: 2, Alpha: 2}, 7)
	for layer := range small.Layers {
		x, _ := part.At(layer, Down)
		y, _ := full.At(layer, Down)
		if !slices.Equal(download(part, x.A), download(full, y.A)) {
			t.Errorf("layer %d: A depends on what else is adapted", layer)
		}
	}
}

func download(a *Adapter, b ops.Buf) []float32 {
	values := make([]float32, b.Len())
	a.backend.Download(values, b)
	return values
}

func TestGradientsShareOneBuffer(t *testing.T) {
	a := newAdapter(t, Config{Rank: 2, Alpha: 2, Targets: []Linear{Key, Up}}, 7)
	if err := a.NeedGrads(); err != nil {
		t.Fatal(err)
	}
	grads := make([]float32, a.Grads.Len())
	for i := range grads {
		grads[i] = float32(i)
	}
	a.backend.Upload(a.Grads, grads)
	next := float32(0)
	for layer := range small.Layers {
		for _, l := range []Linear{Key, Up} {
			p, ok := a.At(layer, l)
			if !ok {
				t.Fatalf("layer %d carries no %s", layer, l)
			}
			for _, b := range []ops.Buf{p.GradA, p.GradB} {
				if got := download(a, b); got[0] != next {
					t.Errorf("layer %d, %s begins at %g, want %g", layer, l, got[0], next)
				}
				next += float32(b.Len())
			}
		}
		if _, ok := a.At(layer, Query); ok {
			t.Error("an adapter carries what it was not asked to")
		}
	}
}

func TestScale(t *testing.T) {
	if p, _ := newAdapter(t, Config{Rank: 4, Alpha: 6}, 1).At(0, Query); p.Scale != 1.5 {
		t.Errorf("got %g, want alpha/rank = 1.5", p.Scale)
	}
	if p, _ := newAdapter(t, Config{Rank: 4, Alpha: 6, RSLoRA: true}, 1).At(0, Query); p.Scale != 3 {
		t.Errorf("rsLoRA: got %g, want alpha/√rank = 3", p.Scale)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Alpha: 1}, "rank: must be at least 1"},
		{Config{Rank: 1, Alpha: math.NaN()}, "alpha: must be"},
		{Config{Rank: 1, Alpha: 1, Dropout: 1}, "dropout: must be"},
	} {
		if _, err := New(ops.NewReference(), small, c.config, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.config, err, c.want)
		}
	}
}

// fill gives every element of an adapter another value.
func fill(a *Adapter) {
	values := a.Snapshot()
	for i := range values {
		values[i] = float32(i%97)/64 - 0.5
	}
	a.Restore(values)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, c := range []Config{
		{Rank: 3, Alpha: 6, Base: "org/model", Dropout: 0.05},
		{Rank: 1, Alpha: 0.5, RSLoRA: true},
		{Rank: 2, Alpha: 2, Targets: []Linear{Value, Query}},
	} {
		dir := t.TempDir()
		a := newAdapter(t, c, 3)
		fill(a)
		if err := a.Write(dir); err != nil {
			t.Fatal(err)
		}
		got, err := Read(ops.NewReference(), small, dir)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if !slices.Equal(got.Snapshot(), a.Snapshot()) {
			t.Errorf("%+v: values differ", c)
		}
		got.Config.Targets = a.Config.Targets
		if !bytes.Equal(got.JSON(), a.JSON()) {
			t.Errorf("config differs:\n%s", golden.Diff(string(a.JSON()), string(got.JSON())))
		}
	}
}

func TestConfigFile(t *testing.T) {
	a := newAdapter(t, Config{Rank: 16, Alpha: 32, Base: "builtin:tiny-mistral", Dropout: 0.05}, 3)
	golden.Compare(t, "adapter_config.json", a.JSON())
}

// writeFolder writes a PEFT folder: the config's text, and tensors like a's after
// change.
func writeFolder(t *testing.T, a *Adapter, config string, change func([]safetensors.Tensor) []safetensors.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(ConfigPath(dir), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	values := a.Snapshot()
	var tensors []safetensors.Tensor
	a.Tensors(func(name string, shape [2]int, offset int) {
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: shape[:],
			Data: safetensors.AppendFloat32s(nil, safetensors.F32, values[offset:][:shape[0]*shape[1]])})
	})
	if change != nil {
		tensors = change(tensors)
	}
	if err := safetensors.WriteFile(filepath.Join(dir, tensorName), tensors, safetensors.FormatPT); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReadKeepsPatternsOfRankAndAlpha(t *testing.T) {
	carries := make(plan, small.Layers)
	carries[0][Query], carries[1][Query] = carried{2, 4}, carried{5, 4}
	carries[1][Down] = carried{2, 10}
	a, err := allocate(ops.NewReference(), small, Config{Rank: 2, Alpha: 4}, carries)
	if err != nil {
		t.Fatal(err)
	}
	fill(a)
	dir := t.TempDir()
	if err := a.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Read(ops.NewReference(), small, dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := got.At(1, Query); p.Rank != 5 || p.Scale != 0.8 {
		t.Errorf("query of layer 1: rank %d, scale %g, want 5, 0.8", p.Rank, p.Scale)
	}
	if p, _ := got.At(1, Down); p.Rank != 2 || p.Scale != 5 {
		t.Errorf("down of layer 1: rank %d, scale %g, want 2, 5", p.Rank, p.Scale)
	}
	if _, ok := got.At(0, Down); ok {
		t.Error("down of layer 0 is carried")
	}
	if !slices.Equal(got.Snapshot(), a.Snapshot()) || !bytes.Equal(got.JSON(), a.JSON()) {
		t.Error("values or config differ")
	}
	if got.Rank() != 5 || got.First() != 0 {
		t.Errorf("got rank %d and first layer %d, want 5 and 0", got.Rank(), got.First())
	}
}

func TestReadTakesHalfPrecision(t *testing.T) {
	a := newAdapter(t, Config{Rank: 2, Alpha: 4}, 3)
	fill(a) // multiples of 1/64 below 1: exact in both types
	for _, dtype := range []safetensors.DType{safetensors.BF16, safetensors.F16} {
		dir := writeFolder(t, a, string(a.JSON()), func(tensors []safetensors.Tensor) []safetensors.Tensor {
			a.Tensors(func(name string, shape [2]int, offset int) {
				i := slices.IndexFunc(tensors, func(s safetensors.Tensor) bool { return s.Name == name })
				tensors[i].DType = dtype
				tensors[i].Data = safetensors.AppendFloat32s(nil, dtype, a.Snapshot()[offset:][:shape[0]*shape[1]])
			})
			return tensors
		})
		got, err := Read(ops.NewReference(), small, dir)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Snapshot(), a.Snapshot()) {
			t.Errorf("%s: values differ", dtype)
		}
	}
}

func TestReadRefusesConfigs(t *testing.T) {
	a := newAdapter(t, Config{Rank: 2, Alpha: 4}, 3)
	for _, c := range []struct{ name, old, new, want string }{
		{"another method", `"LORA"`, `"IA3"`, `peft_type: must be LORA, got "IA3"`},
		{"another task", `"CAUSAL_LM"`, `"SEQ_CLS"`, "task_type: must be CAUSAL_LM"},
		{"DoRA", `"use_dora": false`, `"use_dora": true`, "use_dora: is not supported"},
		{"modules to save", `"modules_to_save": null`, `"modules_to_save": ["lm_head"]`, "modules_to_save: is not supported"},
		{"bias", `"bias": "none"`, `"bias": "all"`, `bias: must be none, got "all"`},
		{"fan in fan out", `"fan_in_fan_out": false`, `"fan_in_fan_out": true`, "fan_in_fan_out: is not supported"},
		{"pissa", `"init_lora_weights": true`, `"init_lora_weights": "pissa_niter_4"`, "changes the base's weights"},
		{"rank as text", `"r": 2`, `"r": "2"`, `r: must be a whole number, got "2"`},
		{"rank 0", `"r": 2`, `"r": 0`, "r: must be at least 1"},
		{"rank missing", `"r": 2,`, ``, "r: must be a whole number, it is missing"},
		{"alpha missing", `"lora_alpha": 4,`, ``, "lora_alpha: must be a number, it is missing"},
		{"flag as number", `"use_dora": false`, `"use_dora": 0`, "use_dora: must be true or false, got 0"},
		{"head", `"q_proj"`, `"lm_head"`, `target_modules: "lm_head" is none of the seven linears`},
		{"left out", `"q_proj",`, ``, "the config's target_modules leave it out"},
		{"expression", `"rank_pattern": {}`, `"rank_pattern": {".*q_proj": 2}`, "is a regular expression"},
		{"contradiction", `"rank_pattern": {}`, `"rank_pattern": {"q_proj": 3, "layers.0.self_attn.q_proj": 4}`, "different values"},
		{"wrong rank", `"r": 2`, `"r": 3`, "shape [2 8], the base and the rank ask for [3 8]"},
		{"layers", `"layers_to_transform": null`, `"layers_to_transform": [0]`, "leave it out"},
	} {
		config := strings.Replace(string(a.JSON()), c.old, c.new, 1)
		config = strings.Replace(config, "\"up_proj\",\n  ]", "\"up_proj\"]", 1)
		_, err := Read(ops.NewReference(), small, writeFolder(t, a, config, nil))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestReadRefusesTensors(t *testing.T) {
	a := newAdapter(t, Config{Rank: 2, Alpha: 4}, 3)
	type tensors = []safetensors.Tensor
	extra := func(name string) func(tensors) tensors {
		return func(s tensors) tensors {
			return append(s, safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: []int{1}, Data: make([]byte, 4)})
		}
	}
	for _, c := range []struct {
		name   string
		change func(tensors) tensors
		want   string
	}{
		{"missing pair", func(s tensors) tensors { return s[2:] }, "layers.0.self_attn.q_proj: lora_A and lora_B are missing"},
		{"missing B", func(s tensors) tensors { return slices.Delete(s, 1, 2) }, "only one of lora_A and lora_B"},
		{"DoRA", extra("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"), "DoRA is not supported"},
		{"head", extra("base_model.model.lm_head.lora_A.weight"), "output layer are not supported"},
		{"a layer too many", extra("base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight"), "it has 2 layers"},
		{"NaN", func(s tensors) tensors {
			s[0].Data[4*3+3], s[0].Data[4*3+2] = 0x7f, 0xc0
			return s
		}, "element 3 is NaN, adapters must be finite"},
		{"other type", func(s tensors) tensors {
			s[0].DType = safetensors.I32
			return s
		}, "needed are F32, BF16 or F16"},
		{"nothing", func(tensors) tensors { return nil }, "adapter of nothing"},
	} {
		_, err := Read(ops.NewReference(), small, writeFolder(t, a, string(a.JSON()), c.change))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestReadSaysWhatAFolderLacks(t *testing.T) {
	if _, err := Read(ops.NewReference(), small, t.TempDir()); err == nil || !strings.Contains(err.Error(), "no adapter_config.json here") {
		t.Errorf("got %v", err)
	}
	if _, err := Read(ops.NewReference(), small, filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("got %v, want a missing file", err)
	}
}

func FuzzConfig(f *testing.F) {
	for _, set := range []string{"a-r4", "a-r16", "b-r4", "train-init"} {
		if text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "goldens", "model", "adapters", set, configName)); err == nil {
			f.Add(text)
		}
	}
	f.Add([]byte(`{"r": 4, "lora_alpha": 8, "target_modules": ["layers.0.mlp.up_proj"], "rank_pattern": {"up_proj": 2}, "layers_to_transform": 0}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := jsonfile.Parse("adapter_config.json", text)
		if err != nil {
			return // jsonfile's own affair
		}
		c, err := parseConfig(o)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "adapter_config.json") {
				t.Errorf("no place in %q", err)
			}
			return
		}
		if c.Rank < 1 || !(c.Alpha > 0) {
			t.Errorf("accepted rank %d, alpha %g", c.Rank, c.Alpha)
		}
		for l := range Linear(Linears) {
			if has, _, err := c.carries(1, l); err == nil && has.rank < 1 {
				t.Errorf("%s has rank %d", l, has.rank)
			}
		}
	})
}
