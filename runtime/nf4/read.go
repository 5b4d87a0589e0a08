package nf4

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"pipe/internal/problem"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// Source is a checkpoint to read from: a safetensors.File or Model.
type Source interface {
	Path() string
	Names() []string // sorted
	Info(name string) (safetensors.Info, bool)
	Bytes(name string) ([]byte, error)
}

var (
	_ Source = (*safetensors.File)(nil)
	_ Source = (*safetensors.Model)(nil)
)

// Quantized returns the names of the weights in src that are quantised to four
// bits by bitsandbytes, sorted. (Read refuses fp4.)
func Quantized(src Source) []string {
	var names []string
	for _, name := range src.Names() {
		if weight, _, ok := strings.Cut(name, stateInfix); ok {
			names = append(names, weight)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// IsQuantized says whether the weight called name is quantised to four bits.
func IsQuantized(src Source, name string) bool {
	for _, part := range parts(src, name) {
		if strings.HasPrefix(part, name+stateInfix) {
			return true
		}
	}
	return false
}

// parts returns the names that begin with the weight's and a dot.
func parts(src Source, name string) []string {
	names := src.Names()
	from, _ := slices.BinarySearch(names, name+".")
	to := from
	for to < len(names) && strings.HasPrefix(names[to], name+".") {
		to++
	}
	return names[from:to]
}

// Weight is a quantised weight as it was read.
type Weight struct {
	Name    string
	Out, In int

	// Codes holds two codes to a byte. It is a view into the checkpoint, valid
	// until that is closed, not to be written to.
	Codes []uint8
	// Absmax holds the scale of each block. Double quantisation is undone.
	Absmax    []float32
	BlockSize int

	// DType is the type that dequantised weights are rounded to.
	DType safetensors.DType
	// Values are what the codes stand for, as the file says.
	Values [16]float32
}

// Count returns the number of weights.
func (w *Weight) Count() int { return w.Out * w.In }

// Dequantize fills dst, of Count elements, with the weights, row-major. The
// result does not depend on the number of workers.
func (w *Weight) Dequantize(dst []float32, workers int) {
	dequantize(dst, w.Codes, w.Absmax, w.BlockSize, &w.Values, rounding(w.DType), workers)
}

// Runs returns the scale of each run of ops.BlockSize weights, as ops.Weight
// wants them. It fails if w has no such form: blocks shorter than a run, values
// other than ops.NF4, or a type other than F32 and BF16. Then the caller has to
// dequantise.
func (w *Weight) Runs() ([]float32, error) {
	switch {
	case w.BlockSize%ops.BlockSize != 0:
		return nil, fmt.Errorf("tensor %q: blocks of %d have no common scale for runs of %d", w.Name, w.BlockSize, ops.BlockSize)
	case w.Values != ops.NF4:
		return nil, fmt.Errorf("tensor %q: its codes do not stand for the values of NF4", w.Name)
	case w.DType == safetensors.F16:
		return nil, fmt.Errorf("tensor %q: float16 weights are not computed with in four bits", w.Name)
	case w.BlockSize == ops.BlockSize:
		return w.Absmax, nil
	}
	runs := make([]float32, Blocks(w.Count(), ops.BlockSize))
	for i := range runs {
		runs[i] = w.Absmax[i*ops.BlockSize/w.BlockSize]
	}
	return runs, nil
}

// Read reads the quantised weight called name. The tensors that belong to it
// must be exactly those that the package comment lists, and agree with one
// another; what does not is returned as a problem.List.
func Read(src Source, name string) (*Weight, error) {
	r := &reader{src: src, name: name}
	w := r.read()
	if err := r.problems.Err(); err != nil {
		return nil, err
	}
	return w, nil
}

// reader collects what is wrong with one weight.
type reader struct {
	src      Source
	name     string
	problems problem.List
}

func (r *reader) fail(format string, args ...any) {
	r.problems.Add(problem.Problem{File: r.src.Path(), Message: fmt.Sprintf("tensor %q: ", r.name) + fmt.Sprintf(format, args...)})
}

func (r *reader) read() *Weight {
	state, ok := r.state()
	if !ok || !r.checkParts(state) {
		return nil
	}
	w := &Weight{Name: r.name, Out: state.Out, In: state.In, BlockSize: state.BlockSize, DType: state.DType}
	count := w.Count()
	// The codes come first: they show that the shape is as large as it claims.
	// They may be stored as another type of the same bytes (bnb_4bit_quant_storage).
	if w.Codes = r.bytes("", "", count/2+count%2); w.Codes == nil {
		return nil
	}
	blocks := Blocks(count, w.BlockSize)
	copy(w.Values[:], r.floats(suffixMap, len(w.Values)))
	if !state.Double {
		w.Absmax = r.floats(suffixAbsmax, blocks)
		return w
	}
	nested := Nested{Codes: r.bytes(suffixAbsmax, safetensors.U8, blocks), Offset: state.Offset}
	nested.Absmax = r.floats(suffixNestedAbsmax, Blocks(blocks, NestedBlockSize))
	copy(nested.Map[:], r.floats(suffixNestedMap, len(nested.Map)))
	if len(r.problems) > 0 {
		return nil
	}
	w.Absmax = nested.Restore()
	if !finite(w.Absmax) {
		r.fail("a restored absmax is not finite")
	}
	return w
}

// state reads the JSON.
func (r *reader) state() (quantState, bool) {
	info, ok := r.src.Info(r.name + suffixState)
	if !ok {
		for _, part := range parts(r.src, r.name) {
			if strings.HasPrefix(part, r.name+stateInfix) {
				r.fail("%q: pipe reads bitsandbytes' nf4 alone", strings.TrimPrefix(part, r.name+"."))
				return quantState{}, false
			}
		}
		r.fail("it is not quantised: there is no %s", strings.TrimPrefix(suffixState, "."))
		return quantState{}, false
	}
	const limit = 4096 // a state takes about 170 bytes
	if n := info.End - info.Begin; info.DType != safetensors.U8 || n > limit {
		r.fail("quant_state is %s %v, not at most %d bytes of JSON", info.DType, info.Shape, limit)
		return quantState{}, false
	}
	text, err := r.src.Bytes(info.Name)
	if err != nil {
		r.fail("%v", err)
		return quantState{}, false
	}
	state, err := parseState(text)
	if err != nil {
		r.fail("quant_state: %v", err)
	}
	return state, err == nil
}

// checkParts sees that the weight has the tensors of its state and no others.
func (r *reader) checkParts(state quantState) bool {
	want := TensorNames(r.name, state.Double)
	have := parts(r.src, r.name)
	for _, name := range have {
		if !slices.Contains(want, name) {
			r.fail("%s does not belong to it", strings.TrimPrefix(name, r.name+"."))
		}
	}
	for _, name := range want {
		if _, ok := r.src.Info(name); !ok {
			r.fail("%s is missing", strings.TrimPrefix(name, r.name+"."))
		}
	}
	return len(r.problems) == 0
}

// bytes returns the n bytes of a part, of any type if dtype is empty; nil and a
// problem if it has others.
func (r *reader) bytes(suffix string, dtype safetensors.DType, n int) []byte {
	info, _ := r.src.Info(r.name + suffix)
	data, err := r.src.Bytes(info.Name)
	if err != nil {
		r.fail("%v", err)
		return nil
	}
	if len(data) != n || dtype != "" && info.DType != dtype {
		r.fail("%s is %s %v, but its state asks for %d bytes %s", info.Name, info.DType, info.Shape, n, dtype)
		return nil
	}
	return data
}

// floats returns the n elements of a part, which are finite; nil and a problem if
// they are not.
func (r *reader) floats(suffix string, n int) []float32 {
	data := r.bytes(suffix, safetensors.F32, 4*n)
	x := make([]float32, len(data)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	if !finite(x) {
		r.fail("%s holds a value that is not finite", strings.TrimPrefix(suffix, "."))
		return nil
	}
	return x
}

func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
