package mistral

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/golden"
)

const plainConfig = `{
  "architectures": ["MistralForCausalLM"],
  "model_type": "mistral",
  "hidden_size": 128, "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "intermediate_size": 192, "vocab_size": 512,
  "max_position_embeddings": 256,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "sliding_window": null,
  "hidden_act": "silu",
  "tie_word_embeddings": false
}`

func TestConfigDefaults(t *testing.T) {
	c, err := ParseConfig("config.json", []byte(plainConfig))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Width: 128, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 32, FeedForward: 192, Vocabulary: 512,
		Positions: 256, NormEps: 1e-5, RopeTheta: 10000}
	if c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"another architecture", `["MistralForCausalLM"]`, `["LlamaForCausalLM"]`, `config.json:2:20: architectures: must be ["MistralForCausalLM"], got ["LlamaForCausalLM"]`},
		{"no architecture", `"architectures": ["MistralForCausalLM"],`, ``, "architectures: must be"},
		{"another type", `"mistral"`, `"mixtral"`, "config.json:3:17: model_type: must be mistral"},
		{"size as text", `"hidden_size": 128`, `"hidden_size": "128"`, `config.json:4:18: hidden_size: must be a whole number, got "128"`},
		{"size 0", `"hidden_size": 128`, `"hidden_size": 0`, "hidden_size: must be from 1 to 1048576, got 0"},
		{"huge vocabulary", `"vocab_size": 512`, `"vocab_size": 99999999999`, "vocab_size: must be from 1"},
		{"no eps", `"rms_norm_eps": 1e-05,`, ``, "rms_norm_eps: must be a number, it is missing"},
		{"eps 0", `1e-05`, `0`, "rms_norm_eps: must be above 0"},
		{"no theta", `"rope_theta": 10000.0,`, ``, "rope_theta: must be a number, it is missing"},
		{"theta below 1", `10000.0`, `0.5`, "rope_theta: must be from 1"},
		{"contradicting thetas", `"sliding_window"`, `"rope_parameters": {"rope_theta": 5}, "sliding_window"`, "contradicts rope_parameters.rope_theta"},
		{"rope type", `"sliding_window"`, `"rope_parameters": {"rope_theta": 10000, "rope_type": "yarn"}, "sliding_window"`, `rope_parameters.rope_type: must be default, got "yarn"`},
		{"rope scaling", `"sliding_window"`, `"rope_scaling": {"type": "linear"}, "sliding_window"`, "rope_scaling: is not supported"},
		{"no window", `"sliding_window": null,`, ``, "sliding_window: must be a whole number, it is missing"},
		{"window 0", `"sliding_window": null`, `"sliding_window": 0`, "sliding_window: must be from 1"},
		{"activation", `"silu"`, `"gelu"`, `hidden_act: must be silu, got "gelu"`},
		{"bias", `"sliding_window"`, `"attention_bias": true, "sliding_window"`, "attention_bias: is not supported"},
		{"attention dropout", `"sliding_window"`, `"attention_dropout": 0.1, "sliding_window"`, "attention_dropout: must be 0"},
		{"heads do not divide", `"num_attention_heads": 4`, `"num_attention_heads": 5`, "5 heads do not divide hidden_size 128"},
		{"key heads do not divide", `"num_key_value_heads": 2`, `"num_key_value_heads": 3`, "3 do not divide num_attention_heads 4"},
		{"odd head", `"sliding_window"`, `"head_dim": 31, "sliding_window"`, "head_dim: must be even"},
		{"other quantisation", `"sliding_window"`, `"quantization_config": {"quant_method": "gptq"}, "sliding_window"`, `quantization_config.quant_method: must be bitsandbytes, got "gptq"`},
		{"eight bits", `"sliding_window"`, `"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": false, "bnb_4bit_quant_type": "nf4"}, "sliding_window"`, "load_in_4bit: must be true"},
		{"fp4", `"sliding_window"`, `"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "fp4"}, "sliding_window"`, `must be nf4, got "fp4"`},
	} {
		_, err := ParseConfig("config.json", []byte(strings.Replace(plainConfig, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestConfigFindsAllProblemsAtOnce(t *testing.T) {
	text := strings.NewReplacer(`128`, `0`, `1e-05`, `2`, `"silu"`, `"relu"`).Replace(plainConfig)
	_, err := ParseConfig("config.json", []byte(text))
	for _, want := range []string{"hidden_size", "rms_norm_eps", "hidden_act"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing %s in %v", want, err)
		}
	}
}

func TestReadConfigSaysWhatAFolderLacks(t *testing.T) {
	if _, err := ReadConfig(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no config.json here") {
		t.Errorf("got %v", err)
	}
}

func TestGoldenConfigSpellings(t *testing.T) {
	folder := golden.Path(t, "model/configs")
	files, err := filepath.Glob(filepath.Join(folder, "*-v4.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configs in %s: %v", folder, err)
	}
	for _, old := range files {
		read := func(path string) Config {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := ParseConfig(path, text)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		name := strings.TrimSuffix(filepath.Base(old), "-v4.json")
		v4, v5 := read(old), read(strings.Replace(old, "-v4", "-v5", 1))
		model := read(filepath.Join(golden.Path(t, fmt.Sprintf("model/%s-fp32", name)), "config.json"))
		if v4 != v5 || v4 != model {
			t.Errorf("%s: v4 %+v, v5 %+v, model %+v", name, v4, v5, model)
		}
	}
}

func TestParameters(t *testing.T) {
	c, err := ReadConfig(filepath.Join("..", "..", "models", "tiny-mistral"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Parameters(); got != 4213504 {
		t.Errorf("got %d, want the 4,213,504 of the model's README", got)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(plainConfig))
	for _, name := range []string{"configs/a-v4.json", "configs/b-v5.json", "a-nf4/config.json"} {
		if text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "goldens", "model", name)); err == nil {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig("config.json", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "config.json") {
				t.Errorf("no place in %q", err)
			}
			return
		}
		if c.HeadDim < 2 || c.Heads%c.KVHeads != 0 || c.Parameters() <= 0 {
			t.Errorf("accepted %+v", c)
		}
	})
}
