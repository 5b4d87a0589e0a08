package nf4

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

func openModel(t *testing.T, name string) *safetensors.Model {
	t.Helper()
	m, err := safetensors.OpenModel(golden.Path(t, "model/"+name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// stored are the quantised folders of the golden set and what they were made from.
var stored = []struct{ quantized, source string }{
	{"a-nf4", "a-fp32"}, {"a-nf4-bf16", "a-bf16-sharded"}, {"b-nf4-single", "b-fp32"},
}

func TestGoldenCheckpointsReadBitForBit(t *testing.T) {
	for _, s := range stored {
		t.Run(s.quantized, func(t *testing.T) {
			m := openModel(t, s.quantized)
			names := Quantized(m)
			if len(names) == 0 {
				t.Fatal("no quantised weight found")
			}
			for _, name := range names {
				w, err := Read(m, name)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, w.Count())
				w.Dequantize(got, 2)
				sameBits(t, name, got, byDefinition(t, m, name))

				runs, err := w.Runs()
				if err != nil {
					t.Fatal(err)
				}
				for r := range w.Out {
					row := make([]float32, w.In)
					ops.DequantizeRow(row, w.Codes, runs, r, w.In, w.DType == safetensors.BF16)
					sameBits(t, name, row, got[r*w.In:(r+1)*w.In])
				}
			}
		})
	}
}

// byDefinition dequantises a weight element by element, from the tensors and
// JSON as they are in the file.
func byDefinition(t *testing.T, m *safetensors.Model, name string) []float32 {
	t.Helper()
	need := func(suffix string) []float32 {
		x, err := m.Float32s(name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	text, err := m.Bytes(name + ".quant_state.bitsandbytes__nf4")
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Blocksize     int
		DType         string
		Shape         []int
		Nested_offset *float64
	}
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	codes, err := m.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	values := need(".quant_map")
	out := make([]float32, state.Shape[0]*state.Shape[1])
	for i := range out {
		block := i / state.Blocksize
		var absmax float32
		if state.Nested_offset == nil {
			absmax = element(m, name+".absmax", block)
		} else {
			q, _ := m.Bytes(name + ".absmax")
			product := element(m, name+".nested_quant_map", int(q[block])) * element(m, name+".nested_absmax", block/256)
			absmax = float32(product) + float32(*state.Nested_offset)
		}
		c := codes[i/2] >> 4
		if i%2 == 1 {
			c = codes[i/2] & 15
		}
		out[i] = float32(values[c] * absmax)
		if state.DType == "bfloat16" {
			out[i] = ops.RoundBFloat16(out[i])
		}
	}
	return out
}

// element returns one element of an F32 tensor.
func element(m *safetensors.Model, name string, i int) float32 {
	data, err := m.Bytes(name)
	if err != nil {
		panic(err)
	}
	b := data[4*i:]
	return math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

func TestGoldenCheckpointsAreWrittenAsBitsandbytesDoes(t *testing.T) {
	for _, s := range stored {
		t.Run(s.quantized, func(t *testing.T) {
			want, source := openModel(t, s.quantized), openModel(t, s.source)
			names := Quantized(want)
			for _, name := range names {
				info, ok := source.Info(name)
				if !ok {
					t.Fatalf("%s is not in %s", name, s.source)
				}
				w, err := source.Float32s(name)
				if err != nil {
					t.Fatal(err)
				}
				_, double := want.Info(name + suffixNestedAbsmax)
				tensors, err := Pack(name, info.Shape, info.DType, w, Options{Double: double, Workers: 2})
				if err != nil {
					t.Fatal(err)
				}
				if announced := TensorNames(name, double); len(announced) != len(tensors) {
					t.Errorf("announced %v, got %d tensors", announced, len(tensors))
				}
				for _, got := range tensors {
					compareTensor(t, want, got, name)
				}
			}
		})
	}
}

// compareTensor holds a tensor made from weight name to the file's. Nested codes
// may differ by the steps that the goldens' README grants, what depends on the order of summation by its last
// digits.
func compareTensor(t *testing.T, want *safetensors.Model, got safetensors.Tensor, name string) {
	t.Helper()
	info, ok := want.Info(got.Name)
	if !ok {
		t.Fatalf("%s is not a tensor that bitsandbytes writes", got.Name)
	}
	data, err := want.Bytes(got.Name)
	if err != nil {
		t.Fatal(err)
	}
	switch suffix := strings.TrimPrefix(got.Name, name); {
	case suffix == suffixState:
		a, errA := parseState(got.Data)
		b, errB := parseState(data)
		if errA != nil || errB != nil || ulps(a.Offset, b.Offset) > 2 {
			t.Errorf("%s: got %s, want %s", got.Name, got.Data, data)
		}
		if a.Offset = b.Offset; !bytes.Equal(a.encode(), data) {
			t.Errorf("%s: got %s, want %s", got.Name, a.encode(), data)
		}
		return // its length depends on the digits
	case suffix == suffixNestedAbsmax:
		file, _ := want.Float32s(got.Name)
		for i, x := range file {
			y := math.Float32frombits(uint32(got.Data[4*i]) | uint32(got.Data[4*i+1])<<8 | uint32(got.Data[4*i+2])<<16 | uint32(got.Data[4*i+3])<<24)
			if math.Abs(float64(x-y)) > 1e-6*math.Abs(float64(x)) {
				t.Errorf("%s[%d]: got %v, want %v", got.Name, i, y, x)
			}
		}
	case suffix == suffixAbsmax && info.DType == safetensors.U8:
		for i, x := range data {
			// Near zero bitsandbytes' CPU quantiser is off by up to four codes (goldens/nf4/README.md).
			if d := int(x) - int(got.Data[i]); d < -4 || d > 4 {
				t.Errorf("%s[%d]: got %d, want %d", got.Name, i, got.Data[i], x)
			}
		}
	default:
		sameBytes(t, got.Name, got.Data, data)
	}
	if got.DType != info.DType || !slices.Equal(got.Shape, info.Shape) {
		t.Errorf("%s: got %s %v, want %s %v", got.Name, got.DType, got.Shape, info.DType, info.Shape)
	}
}

// packed writes the tensors of one weight, changed by edit, and opens the file.
func packed(t *testing.T, o Options, edit func(map[string]*safetensors.Tensor)) *safetensors.File {
	t.Helper()
	tensors, err := Pack("p.weight", []int{24, 50}, safetensors.BF16, normal(24*50, 9), o)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]*safetensors.Tensor{}
	for _, tensor := range tensors {
		tensor.Data = slices.Clone(tensor.Data)
		parts[strings.TrimPrefix(tensor.Name, "p.weight")] = &tensor
	}
	if edit != nil {
		edit(parts)
	}
	tensors = tensors[:0]
	for suffix, tensor := range parts {
		tensor.Name = "p.weight" + suffix
		if tensor.Shape == nil {
			tensor.Shape = []int{len(tensor.Data) * 8 / int(tensor.DType.Bits())}
		}
		tensors = append(tensors, *tensor)
	}
	tensors = append(tensors, safetensors.Tensor{Name: "p.weightless", DType: safetensors.U8, Shape: []int{1}, Data: []byte{1}})
	path := filepath.Join(t.TempDir(), "x")
	if err := safetensors.WriteFile(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestPackedWeightsReadBack(t *testing.T) {
	for _, o := range []Options{{}, {Double: true}, {BlockSize: 32, Double: true}, {BlockSize: 128}, {BlockSize: 4096}} {
		f := packed(t, o, nil)
		if got := Quantized(f); !slices.Equal(got, []string{"p.weight"}) || !IsQuantized(f, "p.weight") || IsQuantized(f, "p.weightless") {
			t.Errorf("found %v", got)
		}
		w, err := Read(f, "p.weight")
		if err != nil {
			t.Fatal(err)
		}
		got, want := make([]float32, w.Count()), normal(24*50, 9)
		w.Dequantize(got, 1)
		for i := range got {
			if scale := w.Absmax[i/w.BlockSize]; math.Abs(float64(got[i]-want[i])) > 0.17*float64(scale) {
				t.Fatalf("%+v: weight %d: got %v, want about %v", o, i, got[i], want[i])
			}
		}
		runs, err := w.Runs()
		if (err == nil) != (o.BlockSize != 32) {
			t.Errorf("%+v: runs: %v", o, err)
		}
		for i := range runs {
			if runs[i] != w.Absmax[i*64/w.BlockSize] {
				t.Errorf("%+v: run %d has another scale", o, i)
			}
		}
	}
}

func TestCodesMayBeStoredAsAnotherType(t *testing.T) {
	f := packed(t, Options{}, func(parts map[string]*safetensors.Tensor) {
		parts[""].DType, parts[""].Shape = safetensors.BF16, []int{300, 1}
	})
	if _, err := Read(f, "p.weight"); err != nil {
		t.Error(err)
	}
}

func TestReadUsesTheMapsOfTheFile(t *testing.T) {
	values := ops.NF4
	values[3] = -0.4
	f := packed(t, Options{}, func(parts map[string]*safetensors.Tensor) {
		parts[suffixMap].Data = safetensors.AppendFloat32s(nil, safetensors.F32, values[:])
	})
	w, err := Read(f, "p.weight")
	if err != nil {
		t.Fatal(err)
	}
	if w.Values != values {
		t.Errorf("got %v", w.Values)
	}
	if _, err := w.Runs(); err == nil || !strings.Contains(err.Error(), "values of NF4") {
		t.Errorf("runs for other values: got %v", err)
	}
}

func TestReadRefusesWhatDoesNotFit(t *testing.T) {
	type parts = map[string]*safetensors.Tensor
	state := func(text string) func(parts) {
		return func(p parts) {
			p[suffixState].Data, p[suffixState].Shape = []byte(text), nil
		}
	}
	edited := func(old, new string) func(parts) {
		return func(p parts) {
			if !strings.Contains(string(p[suffixState].Data), old) {
				panic(old)
			}
			state(strings.Replace(string(p[suffixState].Data), old, new, 1))(p)
		}
	}
	remove := func(suffix string) func(parts) { return func(p parts) { delete(p, suffix) } }
	cut := func(suffix string, n int) func(parts) {
		return func(p parts) { p[suffix].Data, p[suffix].Shape = p[suffix].Data[:len(p[suffix].Data)-n], nil }
	}
	tests := []struct {
		name   string
		double bool
		edit   func(parts)
		want   string
	}{
		{"no weight", false, remove(""), "p.weight is missing"},
		{"no absmax", false, remove(suffixAbsmax), "absmax is missing"},
		{"no map", true, remove(suffixMap), "quant_map is missing"},
		{"no nested absmax", true, remove(suffixNestedAbsmax), "nested_absmax is missing"},
		{"no nested map", true, remove(suffixNestedMap), "nested_quant_map is missing"},
		{"no state", true, remove(suffixState), "it is not quantised"},
		{"extra part", true, func(p parts) {
			p[".bias"] = &safetensors.Tensor{DType: safetensors.U8, Data: []byte{1}}
		}, "bias does not belong to it"},
		{"nested parts without need", false, func(p parts) {
			p[suffixNestedMap] = &safetensors.Tensor{DType: safetensors.F32, Data: make([]byte, 1024)}
		}, "nested_quant_map does not belong to it"},
		{"fp4", false, func(p parts) {
			p[".quant_state.bitsandbytes__fp4"] = p[suffixState]
			delete(p, suffixState)
		}, "quant_state.bitsandbytes__fp4\": pipe reads bitsandbytes' nf4 alone"},
		{"codes too short", false, cut("", 1), "asks for 600 bytes"},
		{"absmax too short", false, cut(suffixAbsmax, 4), "asks for 76 bytes F32"},
		{"absmax of another type", true, func(p parts) { p[suffixAbsmax].DType = "I8" }, "asks for 19 bytes U8"},
		{"map too short", false, cut(suffixMap, 4), "asks for 64 bytes F32"},
		{"nested absmax too short", true, cut(suffixNestedAbsmax, 4), "asks for 4 bytes F32"},
		{"nested map too short", true, cut(suffixNestedMap, 4), "asks for 1024 bytes F32"},
		{"absmax not finite", false, func(p parts) { copy(p[suffixAbsmax].Data, []byte{0, 0, 0x80, 0x7f}) }, "absmax holds a value that is not finite"},
		{"restored absmax not finite", true, func(p parts) {
			copy(p[suffixNestedAbsmax].Data, []byte{0xff, 0xff, 0x7f, 0x7f})
			for i := range 256 {
				copy(p[suffixNestedMap].Data[4*i:], []byte{0, 0, 0, 0x40})
			}
		}, "restored absmax is not finite"},
		{"state of floats", false, func(p parts) {
			p[suffixState] = &safetensors.Tensor{DType: safetensors.F32, Data: make([]byte, 80)}
		}, "not at most 4096 bytes of JSON"},
		{"state too long", false, state("{" + strings.Repeat(" ", 5000) + "}"), "not at most 4096 bytes of JSON"},
		{"state is a list", false, state("[]"), "not a JSON object"},
		{"state is cut off", false, state(`{"quant_type": "nf4"`), "not JSON"},
		{"state goes on", false, edited("}", "} {}"), "text after the end"},
		{"member twice", false, edited("{", `{"dtype": "float32", `), `"dtype" occurs twice`},
		{"unknown member", false, edited("{", `{"x": 1, `), `"x" is unknown`},
		{"member missing", false, edited(`"blocksize": 64, `, ""), `"blocksize" is missing`},
		{"nested member alone", false, edited("}", `, "nested_blocksize": 256}`), `"nested_blocksize" is unknown, or has no place`},
		{"nested member missing", true, edited(`"nested_blocksize": 256, `, ""), `"nested_blocksize" is missing`},
		{"other quantisation", false, edited(`"nf4"`, `"fp4"`), `quant_type is "fp4"`},
		{"odd block size", false, edited("64", "48"), "blocksize is 48"},
		{"block size as text", false, edited("64", `"64"`), "of another type"},
		{"null", false, edited("64", "null"), "of another type"},
		{"unknown dtype", false, edited("bfloat16", "float64"), `dtype is "float64"`},
		{"three dimensions", false, edited("[24, 50]", "[2, 12, 50]"), "shape is [2 12 50]"},
		{"negative dimension", false, edited("[24, 50]", "[-24, -50]"), "shape is [-24 -50]"},
		{"null dimension", false, edited("[24, 50]", "[24, null]"), "shape is [24 0]"},
		{"overflowing shape", false, edited("[24, 50]", "[4294967296, 4294967296]"), "shape is"},
		{"huge shape", false, edited("[24, 50]", "[2147483647, 2147483648]"), "asks for"},
		{"largest shape", false, edited("[24, 50]", "[9223372036854775807, 1]"), "asks for 4611686018427387904 bytes"},
		{"nested block size", true, edited("256", "128"), "nested_blocksize is 128"},
		{"nested type", true, edited(`"float32"`, `"float16"`), `nested_dtype is "float16"`},
		{"offset above float32", true, func(p parts) {
			text, _, _ := strings.Cut(string(p[suffixState].Data), `"nested_offset"`)
			state(text + `"nested_offset": 1e39}`)(p)
		}, "nested_offset is 1e+39"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := Read(packed(t, Options{Double: test.double}, test.edit), "p.weight")
			if err == nil || w != nil {
				t.Fatalf("accepted: %+v", w)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `tensor "p.weight"`) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestPackRefusesWhatItCannotStore(t *testing.T) {
	w := normal(128, 1)
	bad := slices.Clone(w)
	bad[5] = float32(math.NaN())
	for _, test := range []struct {
		name  string
		shape []int
		dtype safetensors.DType
		w     []float32
		o     Options
		want  string
	}{
		{"type", []int{2, 64}, safetensors.I32, w, Options{}, `type "I32"`},
		{"shape", []int{2, 65}, safetensors.F32, w, Options{}, "128 weights of shape [2 65]"},
		{"vector", []int{128}, safetensors.F32, w, Options{}, "only a matrix"},
		{"nothing", []int{0, 64}, safetensors.F32, nil, Options{}, "only a matrix"},
		{"block size", []int{2, 64}, safetensors.F32, w, Options{BlockSize: 65}, "block size 65"},
		{"NaN", []int{2, 64}, safetensors.F32, bad, Options{}, "weight 5 is NaN"},
	} {
		if _, err := Pack("p", test.shape, test.dtype, test.w, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestStateFormatsNumbersAsPythonDoes(t *testing.T) {
	for x, want := range map[float64]string{
		0.04: "0.04", 1: "1.0", 0: "0.0", 1e-05: "1e-05", 0.0001: "0.0001", 123456789: "123456789.0",
		1e16: "1e+16", 1.5e-07: "1.5e-07", 9999999999999998: "9999999999999998.0", float64(float32(0.1)): "0.10000000149011612",
	} {
		if got := pythonFloat(x); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func ExamplePack() {
	tensors, err := Pack("q_proj.weight", []int{64, 64}, safetensors.BF16, make([]float32, 64*64), Options{})
	if err != nil {
		fmt.Println(err)
	}
	for _, t := range tensors {
		fmt.Println(t.Name, t.DType, t.Shape)
	}
	// Output:
	// q_proj.weight U8 [2048 1]
	// q_proj.weight.quant_map F32 [16]
	// q_proj.weight.absmax F32 [64]
	// q_proj.weight.quant_state.bitsandbytes__nf4 U8 [78]
}
