package mistral

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pipe/internal/jsonfile"
	"pipe/internal/problem"
	"pipe/runtime/lora"
)

// Config is the shape of a model, from its config.json.
type Config struct {
	Width       int // C, hidden_size
	Layers      int // L, num_hidden_layers
	Heads       int // H, num_attention_heads
	KVHeads     int // K, num_key_value_heads
	HeadDim     int // D, head_dim, or hidden_size/num_attention_heads
	FeedForward int // F, intermediate_size
	Vocabulary  int // V, vocab_size
	Positions   int // max_position_embeddings: the longest sample

	// Window is how many positions a query sees, itself included; 0 is all
	// (sliding_window).
	Window    int
	NormEps   float32
	RopeTheta float64

	// Tied says that the head is the embedding (tie_word_embeddings).
	Tied bool
}

// Sizes above these are nonsense: the largest open models stay a factor of eight
// below. They keep all products of sizes within an int64.
const (
	maxSize       = 1 << 20
	maxLayers     = 1 << 10
	maxVocabulary = 1 << 24
	maxPositions  = 1 << 26
)

// ReadConfig reads config.json in the folder dir, in the spelling of
// transformers 4 (rope_theta) or 5 (rope_parameters). It refuses by name what is
// no plain MistralForCausalLM; that is a problem.List.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, "config.json")
	o, err := jsonfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return Config{}, problem.List{problem.At(dir, 0, 0, "no config.json here").
				WithHint("a model is a folder with config.json, model.safetensors and a tokenizer")}
		}
	}
	if err != nil {
		return Config{}, err
	}
	return parseConfig(o)
}

// ParseConfig is ReadConfig for the text of a config.json; name stands in
// problems.
func ParseConfig(name string, text []byte) (Config, error) {
	o, err := jsonfile.Parse(name, text)
	if err != nil {
		return Config{}, err
	}
	return parseConfig(o)
}

func parseConfig(o *jsonfile.Object) (Config, error) {
	if !checkArchitecture(o) {
		return Config{}, o.Err() // the rest would only repeat that
	}
	size := func(key string, highest int) int {
		n := o.Int(key)
		if o.Has(key) && (n < 1 || n > highest) {
			o.Problem(key, "must be from 1 to %d, got %s", highest, o.Raw(key))
		}
		return n
	}
	c := Config{
		Width:       size("hidden_size", maxSize),
		Layers:      size("num_hidden_layers", maxLayers),
		Heads:       size("num_attention_heads", maxSize),
		FeedForward: size("intermediate_size", maxSize),
		Vocabulary:  size("vocab_size", maxVocabulary),
		Positions:   size("max_position_embeddings", maxPositions),
		NormEps:     float32(o.Float("rms_norm_eps")),
		RopeTheta:   readTheta(o),
		Tied:        o.Has("tie_word_embeddings") && o.Bool("tie_word_embeddings"),
	}
	c.KVHeads = c.Heads
	if o.Has("num_key_value_heads") || !o.Defined("num_key_value_heads") { // null means as many as heads
		c.KVHeads = size("num_key_value_heads", maxSize)
	}
	if o.Has("head_dim") {
		c.HeadDim = size("head_dim", maxSize)
	}
	// Missing is no "none": the default of the class is a window of 4096.
	if o.Has("sliding_window") || !o.Defined("sliding_window") {
		c.Window = size("sliding_window", maxPositions)
	}
	if o.Has("rms_norm_eps") && !(c.NormEps > 0 && c.NormEps < 1) {
		o.Problem("rms_norm_eps", "must be above 0 and below 1, got %s", o.Raw("rms_norm_eps"))
	}
	refuse(o)
	if o.Err() == nil {
		c.checkHeads(o)
	}
	return c, o.Err()
}

func checkArchitecture(o *jsonfile.Object) bool {
	const want = "MistralForCausalLM"
	names := o.Strings("architectures")
	if o.Err() == nil && (len(names) != 1 || names[0] != want) {
		o.Problem("architectures", "must be [%q], got %s", want, o.Raw("architectures"))
	}
	if o.Has("model_type") && o.String("model_type") != "mistral" {
		o.Problem("model_type", "must be mistral, got %s", o.Raw("model_type"))
	}
	return o.Err() == nil
}

// readTheta reads the base of the rotary angles in either spelling.
func readTheta(o *jsonfile.Object) float64 {
	in, key := o, "rope_theta"
	if o.Has("rope_parameters") {
		in = o.Object("rope_parameters")
		if in.Has("rope_type") && in.String("rope_type") != "default" {
			in.Problem("rope_type", "must be default, got %s: scaled rotary embeddings are not supported", in.Raw("rope_type"))
		}
		if in.Has("partial_rotary_factor") && in.Float("partial_rotary_factor") != 1 {
			in.Problem("partial_rotary_factor", "must be 1, got %s", in.Raw("partial_rotary_factor"))
		}
	}
	theta := in.Float(key)
	if in.Has(key) && !(theta >= 1 && theta <= 1e12) {
		in.Problem(key, "must be from 1 to 1e12, got %s", in.Raw(key))
	}
	if in != o && o.Has(key) && o.Float(key) != theta {
		o.Problem(key, "contradicts rope_parameters.rope_theta, which is %g", theta)
	}
	return theta
}

// refuse notes what changes the computation and is not done here.
func refuse(o *jsonfile.Object) {
	for _, flag := range []string{"attention_bias", "mlp_bias"} {
		if o.Has(flag) && o.Bool(flag) {
			o.Problem(flag, "is not supported")
		}
	}
	if o.Has("rope_scaling") {
		o.Problem("rope_scaling", "is not supported, must be null")
	}
	if o.Has("hidden_act") && o.String("hidden_act") != "silu" {
		o.Problem("hidden_act", "must be silu, got %s", o.Raw("hidden_act"))
	}
	if o.Has("attention_dropout") && o.Float("attention_dropout") != 0 {
		o.Problem("attention_dropout", "must be 0, got %s", o.Raw("attention_dropout"))
	}
	if !o.Has("quantization_config") {
		return
	}
	q := o.Object("quantization_config")
	if method := q.String("quant_method"); q.Has("quant_method") && method != "bitsandbytes" {
		q.Problem("quant_method", "must be bitsandbytes, got %q", method)
		return
	}
	if !q.Has("load_in_4bit") || !q.Bool("load_in_4bit") {
		q.Problem("load_in_4bit", "must be true: of bitsandbytes' formats only NF4 is supported")
	}
	if kind := q.String("bnb_4bit_quant_type"); q.Has("bnb_4bit_quant_type") && kind != "nf4" {
		q.Problem("bnb_4bit_quant_type", "must be nf4, got %q", kind)
	}
}

// checkHeads fills in HeadDim and checks how the heads divide.
func (c *Config) checkHeads(o *jsonfile.Object) {
	if c.HeadDim == 0 {
		if c.Width%c.Heads != 0 {
			o.Problem("num_attention_heads", "%d heads do not divide hidden_size %d, and head_dim is not given", c.Heads, c.Width)
			return
		}
		c.HeadDim = c.Width / c.Heads
	}
	if c.HeadDim%2 != 0 {
		o.Problem("head_dim", "must be even, for rotary embeddings, got %d", c.HeadDim)
	}
	if c.Heads%c.KVHeads != 0 {
		o.Problem("num_key_value_heads", "%d do not divide num_attention_heads %d", c.KVHeads, c.Heads)
	}
	if c.Heads*c.HeadDim > maxSize {
		o.Problem("head_dim", "%d heads of %d are wider than %d", c.Heads, c.HeadDim, maxSize)
	}
}

// Base is what an adapter for this model has to know.
func (c Config) Base() lora.Base {
	query, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return lora.Base{Layers: c.Layers, Shapes: [lora.Linears]lora.Shape{
		lora.Query:  {Out: query, In: c.Width},
		lora.Key:    {Out: kv, In: c.Width},
		lora.Value:  {Out: kv, In: c.Width},
		lora.Output: {Out: c.Width, In: query},
		lora.Gate:   {Out: c.FeedForward, In: c.Width},
		lora.Up:     {Out: c.FeedForward, In: c.Width},
		lora.Down:   {Out: c.Width, In: c.FeedForward},
	}}
}

// Parameters is the number of weights, the head counted once if it is tied.
func (c Config) Parameters() int {
	n := c.Vocabulary*c.Width + c.Width
	if !c.Tied {
		n += c.Vocabulary * c.Width
	}
	layer := 2 * c.Width
	for _, s := range c.Base().Shapes {
		layer += s.Out * s.In
	}
	return n + c.Layers*layer
}

// Names of the tensors outside of the layers and, with a layer's number for %d, of
// the norms within.
const (
	embedName           = "model.embed_tokens.weight"
	normName            = "model.norm.weight"
	headName            = "lm_head.weight"
	attentionNormName   = "model.layers.%d.input_layernorm.weight"
	feedForwardNormName = "model.layers.%d.post_attention_layernorm.weight"
)

// linearName is the name of a linear's weight.
func linearName(layer int, l lora.Linear) string {
	return lora.Path(layer, l) + ".weight"
}
