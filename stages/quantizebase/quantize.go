// Package quantizebase is the stage kind that stores a model's linears in 4 bits.
//
// What it makes is a pre-quantised checkpoint as bitsandbytes and transformers
// write it. It works through one tensor at a time, in memory bounded by the
// largest of them.
package quantizebase

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pipe/runtime/chat"
	"pipe/runtime/mistral"
	"pipe/runtime/nf4"
	"pipe/runtime/safetensors"
	"pipe/stages"
)

// Kind is the stage kind "quantize-base".
var Kind = stages.Define("quantize-base", "1",
	"Quantises a Mistral model's linears to 4-bit NormalFloat, as bitsandbytes does.", run)

// Params are the parameters of the kind.
type Params struct {
	Type        string `yaml:"type" default:"nf4" enum:"nf4" help:"the code book: 4-bit NormalFloat"`
	BlockSize   int    `yaml:"block_size" default:"64" help:"weights that share one scale: 64, 128, 256, 512, 1024, 2048 or 4096"`
	DoubleQuant bool   `yaml:"double_quant" default:"true" help:"store the scales themselves in 8 bits"`
}

// Resumable says that quantising can be gone on with.
func (*Params) Resumable() bool { return true }

// Check finds what the types of the parameters do not show.
func (p *Params) Check(report func(field, message, hint string)) {
	if p.BlockSize < 64 || !nf4.ValidBlockSize(p.BlockSize) {
		report("block_size", fmt.Sprintf("must be a power of two from 64 to 4096, got %d", p.BlockSize), "")
	}
}

// Inputs of the kind.
type Inputs struct {
	Base stages.Input `port:"base" type:"folder" files:"config.json,generation_config.json,model*.safetensors,model.safetensors.index.json,tokenizer*,special_tokens_map.json,chat_template*" reference:"true" help:"a Hugging Face model folder: config.json, safetensors (one file, or shards by their index), tokenizer"`
}

// Outputs of the kind.
type Outputs struct {
	Base string `port:"base" type:"folder" help:"a pre-quantised checkpoint that transformers with bitsandbytes load, with the tokenizer and pipe.json"`
}

func run(ctx context.Context, env *stages.Env, p Params, in Inputs, out Outputs) error {
	config, files, err := mistral.Open(in.Base.Path)
	if err != nil {
		return err
	}
	defer files.Close()
	q := quantizer{ctx: ctx, env: env, params: p, config: config, files: files, linears: map[string]bool{}}
	if q.parts, err = openParts(env); err != nil {
		return err
	}
	defer q.parts.close()
	for _, name := range config.LinearNames() {
		q.linears[name] = true
	}
	if err := q.checkQuantized(); err != nil {
		return err
	}
	if err := os.Mkdir(out.Base, 0o777); err != nil {
		return err
	}
	if err := q.write(filepath.Join(out.Base, "model.safetensors")); err != nil {
		return err
	}
	env.Log.Info("base quantised", "model", config.String(), "linears", len(q.linears), "bytes before", q.before, "bytes after", q.after)
	if err := q.writeConfig(in.Base.Path, out.Base); err != nil {
		return err
	}
	if err := copyCompanions(in.Base.Path, out.Base); err != nil {
		return err
	}
	if env.State != nil {
		env.State.Discard() // nothing is left to be done
	}
	return writeOrigin(out.Base, in.Base, p)
}

// quantizer writes one checkpoint from another.
type quantizer struct {
	ctx     context.Context
	env     *stages.Env
	params  Params
	config  mistral.Config
	files   *safetensors.Model
	linears map[string]bool

	parts         *parts    // what is quantised already, if the stage keeps a state
	values        []float32 // reused from tensor to tensor
	dtype         safetensors.DType
	before, after int64
}

// checkQuantized refuses a source whose weights are quantised already, in another
// way than this stage would.
func (q *quantizer) checkQuantized() error {
	done := nf4.Quantized(q.files)
	if len(done) == 0 {
		return nil
	}
	if len(done) != len(q.linears) {
		return fmt.Errorf("%s: %d of %d linears are quantised already; pass a folder with none or all of them", q.files.Path(), len(done), len(q.linears))
	}
	for _, name := range done {
		w, err := nf4.Read(q.files, name)
		if err != nil {
			return err
		}
		_, double := q.files.Info(name + ".nested_absmax")
		if w.BlockSize != q.params.BlockSize || double != q.params.DoubleQuant {
			return fmt.Errorf("%s: %s is quantised already, with block_size %d and double_quant %v; this stage asks for %d and %v",
				q.files.Path(), name, w.BlockSize, double, q.params.BlockSize, q.params.DoubleQuant)
		}
	}
	return nil
}

// write quantises the linears and copies everything else.
func (q *quantizer) write(path string) error {
	var names []string
	for _, name := range q.files.Names() {
		if q.linears[name] && !nf4.IsQuantized(q.files, name) {
			names = append(names, nf4.TensorNames(name, q.params.DoubleQuant)...)
		} else {
			names = append(names, name)
		}
	}
	w, err := safetensors.Create(path, names, safetensors.FormatPT)
	if err != nil {
		return err
	}
	defer w.Abort() // nothing to do after a Commit
	started := q.env.Now()
	all := q.files.Names()
	for i, name := range all {
		if err := q.ctx.Err(); err != nil {
			return err
		}
		if err := q.tensor(w, name); err != nil {
			return err
		}
		if err := q.parts.saveIfDue(); err != nil {
			return err
		}
		progress := stages.Progress{Done: float64(i + 1), Total: float64(len(all)), Unit: "tensors", RateUnit: "MB"}
		if spent := q.env.Now().Sub(started); spent > 0 {
			progress.Rate = float64(q.before) / 1e6 / spent.Seconds()
			progress.Left = spent * time.Duration(len(all)-i-1) / time.Duration(i+1)
		}
		q.env.Progress(progress)
	}
	return w.Commit()
}

// tensor writes one tensor of the source.
func (q *quantizer) tensor(w *safetensors.Writer, name string) error {
	info, _ := q.files.Info(name)
	raw, err := q.files.Bytes(name)
	if err != nil {
		return err
	}
	q.before += int64(len(raw))
	parts := []safetensors.Tensor{{Name: name, DType: info.DType, Shape: info.Shape, Data: raw}}
	if q.linears[name] && !nf4.IsQuantized(q.files, name) {
		q.dtype = info.DType
		parts, err = q.quantized(name, info)
	} else {
		_, err = q.floats(name, info)
	}
	if err != nil {
		return err
	}
	for _, part := range parts {
		q.after += int64(len(part.Data))
		if err := w.Add(part); err != nil {
			return err
		}
	}
	return nil
}

// quantized returns the tensors of a linear: from an earlier attempt, or made now.
func (q *quantizer) quantized(name string, info safetensors.Info) ([]safetensors.Tensor, error) {
	if parts, err := q.parts.load(nf4.TensorNames(name, q.params.DoubleQuant)); parts != nil || err != nil {
		return parts, err
	}
	values, err := q.floats(name, info)
	if err != nil {
		return nil, err
	}
	parts, err := nf4.Pack(name, info.Shape, info.DType, values, nf4.Options{BlockSize: q.params.BlockSize, Double: q.params.DoubleQuant, Workers: q.env.Workers})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.files.Path(), err)
	}
	return parts, q.parts.add(parts)
}

// floats returns the values of a tensor, valid until the next call, or nil if they
// are no floating-point numbers. It refuses NaN and infinities: training and answers
// would end in them, far from here.
func (q *quantizer) floats(name string, info safetensors.Info) ([]float32, error) {
	if dtypeNames[info.DType] == "" {
		return nil, nil
	}
	if n := info.Count(); cap(q.values) < n {
		q.values = make([]float32, n)
	}
	values := q.values[:info.Count()]
	if err := q.files.ReadFloat32s(values, name); err != nil {
		return nil, err
	}
	if i := safetensors.NotFinite(values); i >= 0 {
		return nil, fmt.Errorf("%s: tensor %q: value %d is %g; the model is damaged: get it again", q.files.Path(), name, i, values[i])
	}
	return values, nil
}

// dtypeNames are how transformers calls the types of weights.
var dtypeNames = map[safetensors.DType]string{safetensors.F32: "float32", safetensors.BF16: "bfloat16", safetensors.F16: "float16"}

// writeConfig copies config.json and adds how the weights are quantised.
func (q *quantizer) writeConfig(from, to string) error {
	b, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		return err
	}
	if q.dtype != "" { // else the source says it already
		if b, err = addQuantization(b, dtypeNames[q.dtype], q.params); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(to, "config.json"), b, 0o666)
}

// addQuantization adds the quantization_config that transformers writes. The block
// size has no place in it: it stands with each tensor.
func addQuantization(config []byte, dtype string, p Params) ([]byte, error) {
	dec := json.NewDecoder(strings.NewReader(string(config)))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return nil, err
	}
	fields["quantization_config"] = map[string]any{
		"_load_in_4bit": true, "_load_in_8bit": false, "load_in_4bit": true, "load_in_8bit": false, "quant_method": "bitsandbytes",
		"bnb_4bit_compute_dtype": dtype, "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": p.Type, "bnb_4bit_use_double_quant": p.DoubleQuant,
		"llm_int8_enable_fp32_cpu_offload": false, "llm_int8_has_fp16_weight": false, "llm_int8_skip_modules": nil, "llm_int8_threshold": json.Number("6.0"),
	}
	b, err := json.MarshalIndent(fields, "", "  ")
	return append(b, '\n'), err
}

// copyCompanions copies what belongs to a model besides weights and config.
func copyCompanions(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.ContainsFunc([]string{"tokenizer", "special_tokens_map.json", "generation_config.json", "chat_template"}, func(p string) bool { return strings.HasPrefix(e.Name(), p) }) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// writeOrigin writes pipe.json: the base by a name that means the same everywhere.
func writeOrigin(dir string, base stages.Input, p Params) error {
	reference := base.Reference
	if reference == "" {
		reference = "sha256:" + base.Digest
	}
	return chat.WriteOrigin(dir, chat.Base{Reference: reference, Digest: base.Digest,
		Quantization: &chat.Quantization{Type: p.Type, BlockSize: p.BlockSize, DoubleQuant: p.DoubleQuant}})
}
