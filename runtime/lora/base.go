package lora

import "fmt"

// Linear is one of the seven matrices of a layer.
type Linear int

const (
	Query Linear = iota
	Key
	Value
	Output
	Gate
	Up
	Down

	// Linears is how many there are.
	Linears = 7
)

var modules = [Linears]string{
	"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
	"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
}

// Module is the linear's name within its layer in Hugging Face's naming,
// "self_attn.q_proj".
func (l Linear) Module() string { return modules[l] }

// String is the linear's short name, "q_proj", as in PEFT's target_modules.
func (l Linear) String() string {
	name := modules[l]
	for i := range name {
		if name[i] == '.' {
			return name[i+1:]
		}
	}
	return name
}

// Path is the name of a linear within the model: "model.layers.0.mlp.up_proj".
func Path(layer int, l Linear) string {
	return fmt.Sprintf("model.layers.%d.%s", layer, l.Module())
}

// Shape is the shape of one W.
type Shape struct{ Out, In int }

// Base is what an adapter has to know about its model: every layer has linears
// of the same shapes.
type Base struct {
	Layers int
	Shapes [Linears]Shape
}
