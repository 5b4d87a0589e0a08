package nf4

import (
	"fmt"

	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// Suffixes of the tensors that belong to a weight.
const (
	suffixAbsmax       = ".absmax"
	suffixMap          = ".quant_map"
	suffixNestedAbsmax = ".nested_absmax"
	suffixNestedMap    = ".nested_quant_map"
	suffixState        = ".quant_state.bitsandbytes__nf4"
	stateInfix         = ".quant_state."
)

// TensorNames returns the names of the tensors that a weight becomes, in the order of
// Pack.
func TensorNames(name string, double bool) []string {
	names := []string{name, name + suffixMap, name + suffixAbsmax}
	if double {
		names = append(names, name+suffixNestedAbsmax, name+suffixNestedMap)
	}
	return append(names, name+suffixState)
}

// Options say how Pack quantises.
type Options struct {
	BlockSize int  // 0 is DefaultBlockSize
	Double    bool // double quantisation
	Workers   int  // goroutines; does not change the result
}

// Pack quantises the weight called name, of shape (out, in), and returns the
// tensors it is stored as. w is row-major; dtype is the type that it had in its
// model, F32, BF16 or F16, and will have when dequantised. It fails on another
// type or shape, a wrong length, an invalid block size or a weight that is not
// finite. w is not kept.
func Pack(name string, shape []int, dtype safetensors.DType, w []float32, o Options) ([]safetensors.Tensor, error) {
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlockSize
	}
	if dtypeNames[dtype] == "" {
		return nil, fmt.Errorf("tensor %q: type %q cannot be quantised, only F32, BF16 and F16", name, dtype)
	}
	if n, ok := safetensors.Count(shape); !ok || n != int64(len(w)) || n == 0 || len(shape) != 2 {
		return nil, fmt.Errorf("tensor %q: %d weights of shape %v: only a matrix with as many can be quantised", name, len(w), shape)
	}
	codes, absmax, err := Quantize(w, o.BlockSize, o.Workers)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	state := quantState{BlockSize: o.BlockSize, DType: dtype, Out: shape[0], In: shape[1], Double: o.Double}
	tensors := []safetensors.Tensor{
		{Name: name, DType: safetensors.U8, Shape: []int{len(codes), 1}, Data: codes},
		floats(name+suffixMap, ops.NF4[:]),
	}
	if o.Double {
		nested := DoubleQuantize(absmax, o.Workers)
		state.Offset = nested.Offset
		tensors = append(tensors,
			bytesOf(name+suffixAbsmax, nested.Codes),
			floats(name+suffixNestedAbsmax, nested.Absmax),
			floats(name+suffixNestedMap, nested.Map[:]))
	} else {
		tensors = append(tensors, floats(name+suffixAbsmax, absmax))
	}
	return append(tensors, bytesOf(name+suffixState, state.encode())), nil
}

func floats(name string, x []float32) safetensors.Tensor {
	return safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: []int{len(x)},
		Data: safetensors.AppendFloat32s(nil, safetensors.F32, x)}
}

func bytesOf(name string, x []byte) safetensors.Tensor {
	return safetensors.Tensor{Name: name, DType: safetensors.U8, Shape: []int{len(x)}, Data: x}
}
