package lora

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pipe/internal/jsonfile"
)

const (
	configName = "adapter_config.json"
	tensorName = "adapter_model.safetensors"
)

// Config is what adapter_config.json says about an adapter.
type Config struct {
	Rank    int
	Alpha   float64
	RSLoRA  bool     // scale by alpha/√rank
	Dropout float64  // of a linear's input in training; for the record
	Base    string   // base_model_name_or_path
	Targets []Linear // the linears that New adapts; none means all seven
}

// Validate says what is wrong with c, or nothing.
func (c Config) Validate() error {
	switch {
	case c.Rank < 1:
		return fmt.Errorf("rank: must be at least 1, got %d", c.Rank)
	case !(c.Alpha > 0) || math.IsInf(c.Alpha, 0):
		return fmt.Errorf("alpha: must be a finite number above 0, got %g", c.Alpha)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("dropout: must be at least 0 and below 1, got %g", c.Dropout)
	}
	return nil
}

// peftConfig is adapter_config.json as far as it matters here.
type peftConfig struct {
	Config
	targets []string // suffixes of module paths; nil means what the file carries
	layers  []int    // layers_to_transform; none means all
	ranks   map[string]int
	alphas  map[string]float64
}

// parseConfig reads adapter_config.json and refuses by name what is not computed
// here. Unknown keys are left alone.
func parseConfig(o *jsonfile.Object) (*peftConfig, error) {
	if kind := o.String("peft_type"); kind != "LORA" && o.Has("peft_type") {
		o.Problem("peft_type", "must be LORA, got %q", kind)
	}
	if o.Has("task_type") && o.String("task_type") != "CAUSAL_LM" {
		o.Problem("task_type", "must be CAUSAL_LM, got %q", o.String("task_type"))
	}
	refuse(o)
	c := &peftConfig{}
	c.Rank, c.Alpha = o.Int("r"), o.Float("lora_alpha")
	if o.Has("r") && c.Rank < 1 {
		o.Problem("r", "must be at least 1, got %d", c.Rank)
	}
	if o.Has("lora_alpha") && c.Alpha <= 0 {
		o.Problem("lora_alpha", "must be above 0, got %g", c.Alpha)
	}
	c.RSLoRA = o.Has("use_rslora") && o.Bool("use_rslora")
	if o.Has("lora_dropout") {
		if c.Dropout = o.Float("lora_dropout"); c.Dropout < 0 || c.Dropout >= 1 {
			o.Problem("lora_dropout", "must be at least 0 and below 1, got %g", c.Dropout)
		}
	}
	if o.Has("base_model_name_or_path") {
		c.Base = o.String("base_model_name_or_path")
	}
	c.readTargets(o)
	c.readPatterns(o)
	return c, o.Err()
}

// refuse notes every feature of PEFT that changes the computation and is not
// done here.
func refuse(o *jsonfile.Object) {
	for _, flag := range []string{"use_dora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out"} {
		if o.Has(flag) && o.Bool(flag) {
			o.Problem(flag, "is not supported")
		}
	}
	for _, key := range []string{"modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters",
		"alora_invocation_tokens", "megatron_config", "arrow_config", "kasa_config", "monteclora_config", "velora_config"} {
		if o.Has(key) {
			o.Problem(key, "is not supported, must be null")
		}
	}
	if o.Has("bias") {
		if bias := o.String("bias"); bias != "none" {
			o.Problem("bias", "must be none, got %q", bias)
		}
	}
	if isString(o, "init_lora_weights") {
		init := o.String("init_lora_weights")
		for _, changes := range []string{"pissa", "olora", "corda", "loftq"} {
			if strings.HasPrefix(init, changes) {
				o.Problem("init_lora_weights", "%s changes the base's weights, which is not supported", init).
					Hint = "PEFT's save_pretrained(…, path_initial_model_for_weight_conversion=…) makes a plain adapter of it"
			}
		}
	}
}

func isString(o *jsonfile.Object, key string) bool {
	return strings.HasPrefix(o.Raw(key), `"`)
}

// readTargets reads which modules the adapter carries. A pattern (a string) and
// exclusions are left to the tensors that are there.
func (c *peftConfig) readTargets(o *jsonfile.Object) {
	if !o.Has("target_modules") || isString(o, "target_modules") || o.Has("exclude_modules") {
		return
	}
	c.targets = o.Strings("target_modules")
	for _, target := range c.targets {
		if !namesLinear(target) {
			o.Problem("target_modules", "%q is none of the seven linears", target).
				Hint = "only q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj can be adapted"
		}
	}
	if o.Has("layers_to_transform") {
		if o.Raw("layers_to_transform")[0] == '[' {
			c.layers = o.Ints("layers_to_transform")
		} else {
			c.layers = []int{o.Int("layers_to_transform")}
		}
	}
}

// namesLinear says whether a target is one of the linears, or the end of the
// path of one in some layer.
func namesLinear(target string) bool {
	for l := range Linear(Linears) {
		if target == l.String() || strings.HasSuffix(target, "."+l.String()) {
			return true
		}
	}
	return false
}

// plainPath matches pattern keys that mean themselves.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)

// readPatterns reads rank_pattern and alpha_pattern, whose keys PEFT takes for
// regular expressions that must match the end of a module's path. Only plain
// paths are read here.
func (c *peftConfig) readPatterns(o *jsonfile.Object) {
	read := func(key string, value func(at *jsonfile.Object, path string)) {
		if !o.Has(key) {
			return
		}
		at := o.Object(key)
		for _, path := range at.Keys() {
			if !plainPath.MatchString(path) {
				o.Problem(key, "%q is a regular expression, which is not supported", path).
					Hint = "write the ends of module paths, such as q_proj or layers.0.self_attn.q_proj"
				continue
			}
			value(at, path)
		}
	}
	c.ranks, c.alphas = map[string]int{}, map[string]float64{}
	read("rank_pattern", func(at *jsonfile.Object, path string) {
		if c.ranks[path] = at.Int(path); c.ranks[path] < 1 {
			at.Problem(path, "must be at least 1")
		}
	})
	read("alpha_pattern", func(at *jsonfile.Object, path string) {
		if c.alphas[path] = at.Float(path); c.alphas[path] <= 0 {
			at.Problem(path, "must be above 0")
		}
	})
}

// endsWith says whether a module path is suffix, or ends with it after a dot.
func endsWith(path, suffix string) bool {
	return path == suffix || strings.HasSuffix(path, "."+suffix)
}

// carries returns what the config says about a linear: its rank and alpha, and
// whether it is a target. The error tells of patterns that contradict each other.
func (c *peftConfig) carries(layer int, l Linear) (has carried, target bool, err error) {
	path := Path(layer, l)
	has = carried{c.Rank, c.Alpha}
	if has.rank, err = match(c.ranks, path, c.Rank, "rank_pattern"); err != nil {
		return has, false, err
	}
	if has.alpha, err = match(c.alphas, path, c.Alpha, "alpha_pattern"); err != nil {
		return has, false, err
	}
	target = len(c.layers) == 0 || slices.Contains(c.layers, layer)
	return has, target && slices.ContainsFunc(c.targets, func(t string) bool { return endsWith(path, t) }), nil
}

// match returns the value whose key matches path, or otherwise.
func match[T comparable](pattern map[string]T, path string, otherwise T, what string) (T, error) {
	value, found := otherwise, ""
	for key, v := range pattern {
		if !endsWith(path, key) {
			continue
		}
		if found != "" && v != value {
			return value, fmt.Errorf("%s: %q and %q give %s different values", what, min(found, key), max(found, key), path)
		}
		value, found = v, key
	}
	return value, nil
}

// JSON returns adapter_config.json: two spaces, sorted keys, and the keys that
// every PEFT since 0.10 knows, so that none warns.
func (a *Adapter) JSON() []byte {
	var targets []string
	ranks, alphas := map[string]int{}, map[string]float64{}
	for l := range Linear(Linears) {
		var paths []string
		for layer := range a.layers {
			p := a.layers[layer][l]
			if p == nil {
				continue
			}
			path := Path(layer, l)
			paths = append(paths, path)
			if p.Rank != a.Config.Rank {
				ranks[path] = p.Rank
			}
			if p.alpha != a.Config.Alpha {
				alphas[path] = p.alpha
			}
		}
		if len(paths) == len(a.layers) {
			paths = []string{l.String()}
		}
		targets = append(targets, paths...)
	}
	slices.Sort(targets)
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(map[string]any{
		"alpha_pattern":           alphas,
		"auto_mapping":            nil,
		"base_model_name_or_path": a.Config.Base,
		"bias":                    "none",
		"exclude_modules":         nil,
		"fan_in_fan_out":          false,
		"inference_mode":          true,
		"init_lora_weights":       true,
		"layer_replication":       nil,
		"layers_pattern":          nil,
		"layers_to_transform":     nil,
		"loftq_config":            map[string]any{},
		"lora_alpha":              a.Config.Alpha,
		"lora_bias":               false,
		"lora_dropout":            a.Config.Dropout,
		"megatron_config":         nil,
		"megatron_core":           "megatron.core",
		"modules_to_save":         nil,
		"peft_type":               "LORA",
		"peft_version":            "0.20.0",
		"r":                       a.Config.Rank,
		"rank_pattern":            ranks,
		"revision":                nil,
		"target_modules":          targets,
		"task_type":               "CAUSAL_LM",
		"use_dora":                false,
		"use_rslora":              a.Config.RSLoRA,
	}); err != nil {
		panic("internal error: lora: " + err.Error())
	}
	return text.Bytes()
}

// ConfigPath is where an adapter folder's config lies.
func ConfigPath(dir string) string { return filepath.Join(dir, configName) }
