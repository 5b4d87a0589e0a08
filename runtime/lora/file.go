package lora

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pipe/internal/jsonfile"
	"pipe/internal/problem"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// maxProblems bounds what an adapter of quite another base gives.
const maxProblems = 20

// Read reads the PEFT folder dir: an adapter for base, in F32, BF16 or F16. Its
// gradients are not allocated. What is wrong with the folder is a problem.List:
// a feature that is not supported, a tensor that is missing, of another shape
// than base has, or not finite.
func Read(b ops.Backend, base Base, dir string) (*Adapter, error) {
	o, err := jsonfile.Read(ConfigPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return nil, problem.List{problem.At(dir, 0, 0, "no %s here", configName).WithHint("an adapter is a folder with %s and %s", configName, tensorName)}
		}
	}
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(o)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Open(filepath.Join(dir, tensorName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	carries, err := c.plan(f, base)
	if err != nil {
		return nil, err
	}
	a, err := allocate(b, base, c.Config, carries)
	if err != nil {
		return nil, err
	}
	if err := a.load(f); err != nil {
		a.Free()
		return nil, err
	}
	return a, nil
}

// plan compares config, tensors and base, and returns what each layer carries.
func (c *peftConfig) plan(f *safetensors.File, base Base) (plan, error) {
	var problems problem.List
	carries := make(plan, base.Layers)
	known := map[string]bool{}
	for layer := range carries {
		for l := range Linear(Linears) {
			has, target, err := c.carries(layer, l)
			if err != nil {
				problems.Add(problem.At(ConfigPath(filepath.Dir(f.Path())), 0, 0, "%v", err))
				continue
			}
			name, shape := tensorPrefix+Path(layer, l), base.Shapes[l]
			known[name+tensorA], known[name+tensorB] = true, true
			there := 0
			for tensor, want := range map[string][]int{name + tensorA: {has.rank, shape.In}, name + tensorB: {shape.Out, has.rank}} {
				info, ok := f.Info(tensor)
				if !ok {
					continue
				}
				there++
				if !slices.Equal(info.Shape, want) {
					problems.Add(problem.AtByte(f.Path(), info.Begin, "tensor %s: shape %v, the base and the rank ask for %v", tensor, info.Shape, want))
				}
			}
			switch {
			case there == 2 && (target || c.targets == nil):
				carries[layer][l] = has
			case there == 1:
				problems.Add(problem.At(f.Path(), 0, 0, "%s: only one of lora_A and lora_B is there", name))
			case there == 2:
				problems.Add(problem.At(f.Path(), 0, 0, "%s is there, but the config's target_modules leave it out", name))
			case target:
				problems.Add(problem.At(f.Path(), 0, 0, "%s: lora_A and lora_B are missing", name))
			}
		}
	}
	for _, info := range f.Tensors() {
		if !known[info.Name] {
			problems.Add(problem.AtByte(f.Path(), info.Begin, "tensor %.100s: %s", info.Name, foreign(info.Name, base)))
		}
	}
	if len(f.Tensors()) == 0 {
		problems.Add(problem.At(f.Path(), 0, 0, "no tensors: an adapter of nothing"))
	}
	return carries, shortened(problems)
}

// foreign says why a tensor has no place in an adapter.
func foreign(name string, base Base) string {
	switch {
	case strings.Contains(name, "lora_magnitude_vector"):
		return "DoRA is not supported"
	case strings.Contains(name, "lora_embedding"), strings.Contains(name, "embed_tokens"), strings.Contains(name, "lm_head"):
		return "adapters of the embedding and the output layer are not supported"
	case strings.Contains(name, ".layers."):
		return fmt.Sprintf("the base has no such linear (it has %d layers)", base.Layers)
	}
	return "no lora_A or lora_B of one of the seven linears"
}

// shortened is the list as an error, cut to maxProblems.
func shortened(problems problem.List) error {
	if more := len(problems) - maxProblems; more > 0 {
		cut := problems.Err().(problem.List)[:maxProblems]
		return append(cut, problem.Problem{Message: fmt.Sprintf("… and %d more", more)})
	}
	return problems.Err()
}

// load uploads the tensors of f, which have the right names and shapes.
func (a *Adapter) load(f *safetensors.File) error {
	var problems problem.List
	values := make([]float32, a.Params.Len())
	var failed error
	a.Tensors(func(name string, shape [2]int, offset int) {
		dst := values[offset:][:shape[0]*shape[1]]
		if err := f.ReadFloat32s(dst, name); err != nil {
			failed = errors.Join(failed, err)
			return
		}
		info, _ := f.Info(name)
		for i, x := range dst {
			if x-x != 0 {
				width := (info.End - info.Begin) / int64(len(dst))
				problems.Add(problem.AtByte(f.Path(), info.Begin+int64(i)*width, "tensor %s: element %d is %g, adapters must be finite", name, i, x))
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	if err := shortened(problems); err != nil {
		return err
	}
	a.backend.Upload(a.Params, values)
	return nil
}

// Write writes the adapter as a PEFT folder, in F32, into dir, which must be
// there. The two files depend on the adapter alone. Each appears in one step, but
// the folder does not: write it where nobody looks yet.
func (a *Adapter) Write(dir string) error {
	values := a.Snapshot()
	var tensors []safetensors.Tensor
	a.Tensors(func(name string, shape [2]int, offset int) {
		tensors = append(tensors, safetensors.Tensor{
			Name: name, DType: safetensors.F32, Shape: shape[:],
			Data: safetensors.AppendFloat32s(nil, safetensors.F32, values[offset:][:shape[0]*shape[1]]),
		})
	})
	if err := safetensors.WriteFile(filepath.Join(dir, tensorName), tensors, safetensors.FormatPT); err != nil {
		return err
	}
	return os.WriteFile(ConfigPath(dir), a.JSON(), 0o644)
}
