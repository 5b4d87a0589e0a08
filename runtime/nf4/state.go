package nf4

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"pipe/runtime/safetensors"
)

// quantState is the JSON that bitsandbytes keeps beside the codes of a weight, one
// byte of it to an element of a U8 tensor:
//
//	{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [4096, 4096],
//	 "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.04}
//
// on one line; the last three members only with double quantisation.
type quantState struct {
	BlockSize int
	DType     safetensors.DType // of the weights when dequantised: F32, BF16 or F16
	Out, In   int
	Double    bool
	Offset    float32 // with Double
}

// dtypeNames are PyTorch's names of the types that weights come in.
var dtypeNames = map[safetensors.DType]string{
	safetensors.F32: "float32", safetensors.BF16: "bfloat16", safetensors.F16: "float16",
}

func dtypeNamed(name string) (safetensors.DType, bool) {
	for dtype, n := range dtypeNames {
		if n == name {
			return dtype, true
		}
	}
	return "", false
}

// encode returns the JSON as Python's json.dumps writes it.
func (s quantState) encode() []byte {
	text := fmt.Appendf(nil, `{"quant_type": "nf4", "blocksize": %d, "dtype": "%s", "shape": [%d, %d]`,
		s.BlockSize, dtypeNames[s.DType], s.Out, s.In)
	if s.Double {
		text = fmt.Appendf(text, `, "nested_blocksize": %d, "nested_dtype": "float32", "nested_offset": %s`,
			NestedBlockSize, pythonFloat(float64(s.Offset)))
	}
	return append(text, '}')
}

// pythonFloat formats x as Python's repr: the shortest digits that give x again,
// with an exponent below 1e-4 and from 1e16 on.
func pythonFloat(x float64) string {
	if size := math.Abs(x); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	text := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// parseState reads the JSON. It refuses members that it does not know, members
// that occur twice and values that pipe cannot compute with.
func parseState(text []byte) (quantState, error) {
	members, err := flatObject(text)
	if err != nil {
		return quantState{}, err
	}
	var errs []error
	read := func(key string, into any) {
		raw, ok := members[key]
		delete(members, key)
		if !ok {
			errs = append(errs, fmt.Errorf("%q is missing", key))
		} else if json.Unmarshal(raw, into) != nil || string(raw) == "null" {
			errs = append(errs, fmt.Errorf("%q: %.60s is of another type", key, raw))
		}
	}
	var j stateJSON
	read("quant_type", &j.quantType)
	read("blocksize", &j.blockSize)
	read("dtype", &j.dtype)
	read("shape", &j.shape)
	if _, j.double = members["nested_offset"]; j.double {
		read("nested_offset", &j.offset)
		read("nested_blocksize", &j.nestedBlockSize)
		read("nested_dtype", &j.nestedDType)
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		errs = append(errs, fmt.Errorf("%.60q is unknown, or has no place without nested_offset", key))
	}
	if len(errs) > 0 {
		return quantState{}, errors.Join(errs...)
	}
	return j.state()
}

// stateJSON holds the members as they stand in the file.
type stateJSON struct {
	quantType, dtype, nestedDType string
	blockSize, nestedBlockSize    int
	shape                         []int
	double                        bool
	offset                        float64
}

func (j stateJSON) state() (quantState, error) {
	dtype, known := dtypeNamed(j.dtype)
	count, countable := safetensors.Count(j.shape)
	offset := float32(j.offset)
	switch {
	case j.quantType != "nf4":
		return quantState{}, fmt.Errorf("quant_type is %.60q, pipe reads nf4", j.quantType)
	case !ValidBlockSize(j.blockSize):
		return quantState{}, fmt.Errorf("blocksize is %d, not a power of two from 32 to 4096", j.blockSize)
	case !known:
		return quantState{}, fmt.Errorf("dtype is %.60q, pipe reads float32, bfloat16 and float16", j.dtype)
	case len(j.shape) != 2 || !countable || count == 0 || count > math.MaxInt:
		return quantState{}, fmt.Errorf("shape is %.200s, not that of a matrix", fmt.Sprint(j.shape))
	case j.double && j.nestedBlockSize != NestedBlockSize:
		return quantState{}, fmt.Errorf("nested_blocksize is %d, bitsandbytes reads %d alone", j.nestedBlockSize, NestedBlockSize)
	case j.double && j.nestedDType != "float32":
		return quantState{}, fmt.Errorf("nested_dtype is %.60q, pipe reads float32", j.nestedDType)
	case math.IsInf(float64(offset), 0):
		return quantState{}, fmt.Errorf("nested_offset is %v, too large for a float32", j.offset)
	}
	return quantState{BlockSize: j.blockSize, DType: dtype, Out: j.shape[0], In: j.shape[1], Double: j.double, Offset: offset}, nil
}

// flatObject returns the members of a JSON object, each once.
func flatObject(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object: %.60q", text)
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		name, _ := key.(string) // the decoder accepts nothing else before a colon
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%.60q occurs twice", name)
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("text after the end of the JSON object")
	}
	return members, nil
}
