package mistral

import (
	"fmt"

	"pipe/runtime/lora"
	"pipe/runtime/safetensors"
)

// Open reads the config of the model in the folder dir and opens its tensors, after
// checking that each is there with the shape that the config asks for. Problems are
// as in Load. The caller closes the tensors.
func Open(dir string) (Config, *safetensors.Model, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return c, nil, err
	}
	files, err := safetensors.OpenModel(dir)
	if err != nil {
		return c, nil, err
	}
	l := &loader{files: files, model: &Model{Config: c}}
	if err := l.check(); err != nil {
		files.Close()
		return c, nil, err
	}
	return c, files, nil
}

// LinearNames lists the tensors that QLoRA quantises, the seven linears of every
// layer, by layer.
func (c Config) LinearNames() []string {
	names := make([]string, 0, c.Layers*lora.Linears)
	for layer := range c.Layers {
		for l := range lora.Linears {
			names = append(names, linearName(layer, lora.Linear(l)))
		}
	}
	return names
}

// String is "4213504 parameters, 5 layers of width 256", for people.
func (c Config) String() string {
	return fmt.Sprintf("%d parameters, %d layers of width %d", c.Parameters(), c.Layers, c.Width)
}
