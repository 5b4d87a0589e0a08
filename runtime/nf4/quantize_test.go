package nf4

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// goldenCase is an entry of goldens/nf4/cases.json with its tensors.
type goldenCase struct {
	t     *testing.T
	file  *safetensors.File
	name  string
	dtype safetensors.DType
	count int
}

func goldenCases(t *testing.T, check func(t *testing.T, c goldenCase)) {
	var list struct {
		BlockSize int `json:"block_size"`
		Cases     []struct {
			Name, DType string
			Count       int
		}
	}
	if err := json.Unmarshal(golden.Read(t, "nf4/cases.json"), &list); err != nil {
		t.Fatal(err)
	}
	if list.BlockSize != DefaultBlockSize || len(list.Cases) == 0 {
		t.Fatalf("block size %d, %d cases", list.BlockSize, len(list.Cases))
	}
	f, err := safetensors.Open(golden.Path(t, "nf4/cases.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, c := range list.Cases {
		t.Run(c.Name, func(t *testing.T) {
			dtype, ok := dtypeNamed(c.DType)
			if !ok {
				t.Fatalf("dtype %q", c.DType)
			}
			check(t, goldenCase{t, f, c.Name, dtype, c.Count})
		})
	}
}

func (c goldenCase) floats(field string) []float32 {
	c.t.Helper()
	x, err := c.file.Float32s(c.name + "." + field)
	if err != nil {
		c.t.Fatal(err)
	}
	return x
}

func (c goldenCase) bytes(field string) []byte {
	c.t.Helper()
	x, err := c.file.Bytes(c.name + "." + field)
	if err != nil {
		c.t.Fatal(err)
	}
	return x
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Errorf("%s[%d]: got %v (%08x), want %v (%08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
			return
		}
	}
}

func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d bytes, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s[%d]: got %02x, want %02x", what, i, got[i], want[i])
			return
		}
	}
}

func TestGoldenQuantizeFollowsTheDocumentedRule(t *testing.T) {
	goldenCases(t, func(t *testing.T, c goldenCase) {
		c.t = t
		codes, absmax, err := Quantize(c.floats("input"), 64, 1)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "codes", codes, c.bytes("rule.packed"))
		sameBits(t, "absmax", absmax, c.floats("rule.absmax"))
	})
}

func TestGoldenDequantize(t *testing.T) {
	goldenCases(t, func(t *testing.T, c goldenCase) {
		c.t = t
		got := make([]float32, c.count)
		Dequantize(got, c.bytes("packed"), c.floats("absmax"), 64, c.dtype, 1)
		sameBits(t, "dequant", got, c.floats("dequant"))
		Dequantize(got, c.bytes("packed"), c.floats("nested.absmax_restored"), 64, c.dtype, 1)
		sameBits(t, "nested.dequant", got, c.floats("nested.dequant"))
	})
}

func TestGoldenDoubleQuantize(t *testing.T) {
	goldenCases(t, func(t *testing.T, c goldenCase) {
		c.t = t
		absmax, offset := c.floats("absmax"), c.floats("nested.offset")[0]
		own := DoubleQuantize(absmax, 1)
		if d := ulps(own.Offset, offset); d > 2 {
			t.Errorf("offset %v is %d ulp from %v", own.Offset, d, offset)
		}
		for i, want := range c.floats("nested.absmax") {
			noise := math.Abs(float64(own.Offset - offset)) // of the offset carries over
			if d := math.Abs(float64(own.Absmax[i] - want)); d > 1e-6*float64(want)+noise {
				t.Errorf("nested absmax[%d]: got %v, want %v", i, own.Absmax[i], want)
			}
		}
		given := doubleQuantize(absmax, offset, 1)
		sameBits(t, "nested absmax from the stored offset", given.Absmax, c.floats("nested.absmax"))
		want := slices.Clone(c.bytes("rule.nested.codes"))
		for i := range want {
			if given.Absmax[i/NestedBlockSize] == 0 {
				want[i] = given.Codes[i] // arbitrary: it is multiplied by 0
			}
		}
		sameBytes(t, "nested codes", given.Codes, want)
	})
}

func TestGoldenRestoreOfStoredCodes(t *testing.T) {
	goldenCases(t, func(t *testing.T, c goldenCase) {
		c.t = t
		n := Nested{Codes: c.bytes("nested.codes"), Absmax: c.floats("nested.absmax"), Map: signedMap, Offset: c.floats("nested.offset")[0]}
		sameBits(t, "absmax", n.Restore(), c.floats("nested.absmax_restored"))
	})
}

func ulps(a, b float32) int64 {
	d := int64(int32(math.Float32bits(a))) - int64(int32(math.Float32bits(b)))
	return max(d, -d)
}

func TestGoldenTablesAreBitsAndBytes(t *testing.T) {
	type table struct {
		Bits       []string
		Thresholds []string `json:"thresholds_bits"`
	}
	var books struct {
		NF4      table
		Signed   table `json:"dynamic_signed"`
		Unsigned table `json:"dynamic_unsigned"`
	}
	if err := json.Unmarshal(golden.Read(t, "nf4/bnb-codebooks.json"), &books); err != nil {
		t.Fatal(err)
	}
	signed, unsigned := DynamicMap(true), DynamicMap(false)
	for _, c := range []struct {
		name string
		got  []float32
		want []string
	}{
		{"NF4", ops.NF4[:], books.NF4.Bits}, {"thresholds", thresholds[:], books.NF4.Thresholds},
		{"signed map", signed[:], books.Signed.Bits}, {"unsigned map", unsigned[:], books.Unsigned.Bits},
	} {
		sameBits(t, c.name, c.got, floatsOf(t, c.want))
	}
}

func floatsOf(t *testing.T, hexBits []string) []float32 {
	t.Helper()
	out := make([]float32, len(hexBits))
	for i, text := range hexBits {
		bits, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = math.Float32frombits(uint32(bits))
	}
	return out
}

func TestGoldenFixture(t *testing.T) {
	var f struct {
		Shape     []int
		Input     string   `json:"input_bf16_hex_be"`
		Packed    string   `json:"packed_weight_hex"`
		Absmax    []string `json:"absmax_f32_bits"`
		Offset    string   `json:"nested_offset_f32_bits"`
		NestedMax []string `json:"nested_absmax_f32_bits"`
		Codes     []int    `json:"absmax_u8"`
		Double    string   `json:"dequant_bf16_double_quant_hex"`
		Single    string   `json:"dequant_bf16_single_quant_hex"`
	}
	if err := json.Unmarshal(golden.Read(t, "nf4/nf4-fixture.json"), &f); err != nil {
		t.Fatal(err)
	}
	bf16 := func(text string) []float32 {
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, len(raw)/2)
		for i := range out {
			out[i] = math.Float32frombits(uint32(binary.BigEndian.Uint16(raw[2*i:])) << 16)
		}
		return out
	}
	codes, absmax, err := Quantize(bf16(f.Input), 64, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(codes); got != f.Packed {
		t.Errorf("packed: got %s, want %s", got, f.Packed)
	}
	sameBits(t, "absmax", absmax, floatsOf(t, f.Absmax))
	single := make([]float32, len(codes)*2)
	Dequantize(single, codes, absmax, 64, safetensors.BF16, 2)
	sameBits(t, "single", single, bf16(f.Single))
	stored := Nested{Absmax: floatsOf(t, f.NestedMax), Map: signedMap, Offset: floatsOf(t, []string{f.Offset})[0]}
	for _, c := range f.Codes {
		stored.Codes = append(stored.Codes, uint8(c))
	}
	double := make([]float32, len(codes)*2)
	Dequantize(double, codes, stored.Restore(), 64, safetensors.BF16, 2)
	sameBits(t, "double", double, bf16(f.Double))
}

func TestCodeOfEveryThresholdAndItsNeighbours(t *testing.T) {
	for i, x := range thresholds {
		for _, c := range []struct {
			n    float32
			want int
		}{{x, i}, {math.Nextafter32(x, 2), i + 1}, {math.Nextafter32(x, -2), i}} {
			if got := code(c.n); int(got) != c.want {
				t.Errorf("code of %v: got %d, want %d", c.n, got, c.want)
			}
		}
	}
	for i, v := range ops.NF4 {
		if got := code(v); int(got) != i {
			t.Errorf("code of value %d: got %d", i, got)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 1_000_000 {
		n := random.Float32()*2 - 1
		want := 0
		for _, x := range thresholds {
			if n > x {
				want++
			}
		}
		if got := code(n); int(got) != want {
			t.Fatalf("code of %v: got %d, want %d", n, got, want)
		}
	}
}

func TestNearestIsTheNearestEntryAndTheLowerOfTwo(t *testing.T) {
	m := signedMap
	random := rand.New(rand.NewPCG(2, 2))
	check := func(z float32) {
		want := 0
		for i, v := range m {
			if math.Abs(float64(v)-float64(z)) < math.Abs(float64(m[want])-float64(z)) {
				want = i
			}
		}
		if got := nearest(z); int(got) != want {
			t.Fatalf("%v: got %d (%v), want %d (%v)", z, got, m[got], want, m[want])
		}
	}
	for i := range m {
		check(m[i])
		if i > 0 {
			check((m[i-1] + m[i]) / 2)
		}
	}
	for range 20000 {
		check(random.Float32()*2 - 1)
		check((random.Float32()*2 - 1) * 1e-5)
	}
	check(-1)
	check(math.Nextafter32(-1, 0))
}

func normal(n int, seed uint64) []float32 {
	random := rand.New(rand.NewPCG(seed, 0))
	w := make([]float32, n)
	for i := range w {
		w[i] = ops.RoundBFloat16(float32(random.NormFloat64() * 0.02))
	}
	return w
}

func TestResultsDoNotDependOnTheNumberOfWorkers(t *testing.T) {
	w := normal(64*777+13, 5)
	for _, blockSize := range []int{32, 64, 4096} {
		codes, absmax, _ := Quantize(w, blockSize, 1)
		nested := DoubleQuantize(absmax, 1)
		out := make([]float32, len(w))
		Dequantize(out, codes, absmax, blockSize, safetensors.BF16, 1)
		for _, workers := range []int{0, 2, 3, 16, 100000} {
			codes2, absmax2, _ := Quantize(w, blockSize, workers)
			sameBytes(t, "codes", codes2, codes)
			sameBits(t, "absmax", absmax2, absmax)
			nested2 := DoubleQuantize(absmax, workers)
			sameBytes(t, "nested codes", nested2.Codes, nested.Codes)
			sameBits(t, "nested absmax", nested2.Absmax, nested.Absmax)
			out2 := make([]float32, len(w))
			Dequantize(out2, codes, absmax, blockSize, safetensors.BF16, workers)
			sameBits(t, "weights", out2, out)
		}
	}
}

func TestQuantizeRefusesWhatHasNoCode(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		w := normal(1000, 1)
		w[777] = bad
		if _, _, err := Quantize(w, 64, 3); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("weight 777 is %v", bad)) {
			t.Errorf("%v: got %v", bad, err)
		}
	}
	for _, size := range []int{0, -64, 16, 48, 8192} {
		if _, _, err := Quantize(normal(64, 1), size, 1); err == nil || !strings.Contains(err.Error(), strconv.Itoa(size)) {
			t.Errorf("block size %d: got %v", size, err)
		}
	}
}

func TestZeroIsCodeSevenEverywhere(t *testing.T) {
	tiny := math.Float32frombits(3) // 1/tiny overflows
	negative := float32(math.Copysign(0, -1))
	codes, absmax, err := Quantize([]float32{0, tiny, negative, -tiny, 0}, 64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{0x7f, 0x70, 0x77}; !slices.Equal(codes, want) || absmax[0] != tiny {
		t.Errorf("got %x, %v", codes, absmax)
	}
	codes, absmax, _ = Quantize(make([]float32, 3), 32, 1)
	if want := []byte{0x77, 0x77}; !slices.Equal(codes, want) || absmax[0] != 0 {
		t.Errorf("all zero: got %x, %v", codes, absmax)
	}
}

func FuzzNF4(f *testing.F) {
	var seed []byte
	for _, x := range normal(70, 3) {
		seed = binary.LittleEndian.AppendUint32(seed, math.Float32bits(x))
	}
	f.Add(seed, uint8(1))
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0x7f, 0x7f}, uint8(0))
	widest := 0.0
	for i := range thresholds {
		widest = max(widest, float64(ops.NF4[i+1])-float64(ops.NF4[i]))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		blockSize := 32 << (size % 8)
		w := make([]float32, len(data)/4)
		finite := true
		for i := range w {
			w[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
			finite = finite && w[i]-w[i] == 0
		}
		codes, absmax, err := Quantize(w, blockSize, 2)
		if (err == nil) != finite {
			t.Fatalf("finite %v, error %v", finite, err)
		}
		if err != nil {
			return
		}
		if len(w)%2 == 1 && codes[len(codes)-1]&15 != 7 {
			t.Error("the last nibble is not 7")
		}
		back := make([]float32, len(w))
		Dequantize(back, codes, absmax, blockSize, safetensors.F32, 1)
		for i, x := range w {
			scale := float64(absmax[i/blockSize])
			limit := scale*(widest/2)*(1+1e-6) + 2e-45
			if scale < 0x1p-126 { // the reciprocal overflows or is inexact
				limit = scale
			}
			if d := math.Abs(float64(x) - float64(back[i])); d > limit {
				t.Errorf("weight %d: %v became %v, absmax %v", i, x, back[i], scale)
			}
			if c := codes[i/2] >> (4 * (1 - i%2)) & 15; back[i] != ops.NF4[c]*absmax[i/blockSize] {
				t.Errorf("weight %d: code %d is not where it belongs", i, c)
			}
		}
	})
}

func BenchmarkQuantize(b *testing.B) {
	w := normal(1<<22, 1)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("bf16-input/workers=%d", workers), func(b *testing.B) {
			b.SetBytes(int64(2 * len(w)))
			b.ReportAllocs()
			for b.Loop() {
				Quantize(w, 64, workers)
			}
		})
	}
}

func BenchmarkDequantize(b *testing.B) {
	w := normal(1<<22, 1)
	codes, absmax, _ := Quantize(w, 64, 1)
	b.SetBytes(int64(2 * len(w)))
	b.ReportAllocs()
	for b.Loop() {
		Dequantize(w, codes, absmax, 64, safetensors.BF16, 1)
	}
}

func BenchmarkDoubleQuantize(b *testing.B) {
	absmax := normal(1<<20, 1)
	b.SetBytes(int64(4 * len(absmax)))
	for b.Loop() {
		DoubleQuantize(absmax, 1)
	}
}
