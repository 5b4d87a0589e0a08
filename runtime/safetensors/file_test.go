package safetensors

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pipe/internal/golden"
)

// goldenFiles are the safetensors files of the golden sets.
func goldenFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, folder := range []string{"model", "nf4"} {
		err := filepath.WalkDir(golden.Path(t, folder), func(path string, _ os.DirEntry, err error) error {
			if strings.HasSuffix(path, ".safetensors") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 0 {
		t.Fatal("no safetensors file among the goldens")
	}
	return files
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestGoldenFilesAreWrittenAsTheOriginalLibraryDoes(t *testing.T) {
	for _, path := range goldenFiles(t) {
		f := open(t, path)
		var tensors []Tensor
		for _, info := range f.Tensors() {
			data, err := f.Bytes(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, Tensor{info.Name, info.DType, info.Shape, data})
		}
		slices.Reverse(tensors) // the order given must not matter
		again := filepath.Join(t.TempDir(), "again")
		if err := WriteFile(again, tensors, f.Metadata()); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(path)
		got, _ := os.ReadFile(again)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: written again it has other bytes", path)
		}
	}
}

func TestFloat32sConvertsExactly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -2.5, 65504, 0.5, float32(math.Inf(1)), 6.103515625e-05, -5.9604645e-08}
	var tensors []Tensor
	for _, dtype := range []DType{F32, F16, BF16} {
		tensors = append(tensors, Tensor{string(dtype), dtype, []int{3, 3}, AppendFloat32s(nil, dtype, values)})
	}
	tensors = append(tensors, Tensor{"odd", U8, []int{1}, []byte{7}})
	if err := WriteFile(path, tensors, FormatPT); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	for _, name := range []string{"F32", "F16"} {
		got, err := f.Float32s(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if math.Float32bits(got[i]) != math.Float32bits(v) {
				t.Errorf("%s[%d]: got %v, want %v", name, i, got[i], v)
			}
		}
	}
	if _, err := f.Float32s("odd"); err == nil || !strings.Contains(err.Error(), "U8") {
		t.Errorf("bytes as float32: got %v", err)
	}
	if err := f.ReadFloat32s(make([]float32, 8), "F32"); err == nil || !strings.Contains(err.Error(), "9 elements, not 8") {
		t.Errorf("short destination: got %v", err)
	}
	if _, err := f.Float32s("none"); err == nil || !strings.Contains(err.Error(), `no tensor "none"`) {
		t.Errorf("missing tensor: got %v", err)
	}
}

func TestInt64sReadsEveryIntegerType(t *testing.T) {
	minus := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	want := map[DType]int64{BOOL: 255, U8: 255, "I8": -1, "I16": -1, "U16": 65535, I32: -1, "U32": math.MaxUint32, I64: -1}
	var tensors []Tensor
	for dtype := range want {
		tensors = append(tensors, Tensor{string(dtype), dtype, []int{1}, minus[:dtype.Bits()/8]})
	}
	tensors = append(tensors, Tensor{"U64", "U64", []int{1}, minus})
	path := filepath.Join(t.TempDir(), "x")
	if err := WriteFile(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	for dtype, value := range want {
		if got, err := f.Int64s(string(dtype)); err != nil || got[0] != value {
			t.Errorf("%s: got %v, %v, want %d", dtype, got, err, value)
		}
	}
	if _, err := f.Int64s("U64"); err == nil {
		t.Error("U64 was converted")
	}
}

func TestFloat16RoundTripsEveryBitPattern(t *testing.T) {
	for h := range 1 << 16 {
		x := Float16frombits(uint16(h))
		if got := Float16bits(x); got != uint16(h) && x == x {
			t.Fatalf("%04x: %v becomes %04x", h, x, got)
		}
		if x != x && Float16bits(x)&0x7fff <= 0x7c00 {
			t.Fatalf("%04x: NaN is lost", h)
		}
	}
}

func TestFloat16RoundsToNearestEven(t *testing.T) {
	for h := range uint16(0x7c00) {
		low, high := Float16frombits(h), Float16frombits(h+1)
		if h == 0x7bff {
			high = 65536
		}
		middle := (low + high) / 2
		even := h + h&1
		if got := Float16bits(middle); got != even {
			t.Fatalf("between %v and %v: got %04x, want %04x", low, high, got, even)
		}
		if got := Float16bits(math.Nextafter32(middle, 0)); got != h {
			t.Fatalf("just below the middle of %v and %v: got %04x", low, high, got)
		}
		if got := Float16bits(-math.Nextafter32(middle, 1e6)); got != 0x8000|(h+1) {
			t.Fatalf("just above the middle of %v and %v: got %04x", low, high, got)
		}
	}
}

func TestBFloat16RoundsToNearestEven(t *testing.T) {
	for bits, want := range map[uint32]uint16{
		0x3f800000: 0x3f80, 0x3f808000: 0x3f80, 0x3f808001: 0x3f81, 0x3f818000: 0x3f82,
		0x7f7fffff: 0x7f80, 0x7f800001: 0x7fc0, 0xffffffff: 0xffff, 0x80000001: 0x8000,
	} {
		if got := BFloat16bits(math.Float32frombits(bits)); got != want {
			t.Errorf("%08x: got %04x, want %04x", bits, got, want)
		}
	}
}

func TestFileCutOffWhileOpenIsAnErrorNotACrash(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mapped file cannot be cut off here")
	}
	const n = 1 << 16
	path := filepath.Join(t.TempDir(), "x")
	if err := WriteFile(path, []Tensor{{"a", F32, []int{n}, make([]byte, 4*n)}}, nil); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	view, err := f.Bytes("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Float32s("a"); err == nil || !strings.Contains(err.Error(), "byte 4096: the file was cut short while it was open") {
		t.Errorf("got %v", err)
	}
	// The check of the length may come too early: then the fault itself is caught.
	sum := 0
	err = f.guard(func() {
		for _, b := range view {
			sum += int(b)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("a fault gave %v", err)
	}
}

func TestGuardPassesOtherPanicsOn(t *testing.T) {
	defer func() {
		if recover() != "mine" {
			t.Error("the panic was swallowed")
		}
	}()
	new(File).guard(func() { panic("mine") })
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not an ordinary file") {
		t.Errorf("folder: got %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("missing: got %v", err)
	}
}

func TestClosedFileGivesAnError(t *testing.T) {
	f := open(t, write(t, craft(one(`"U8"`, `[1]`, `[0,1]`), 1)))
	f.Close()
	if err := f.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := f.Bytes("a"); err == nil {
		t.Error("bytes of a closed file")
	}
}

func TestFileIsReadByManyGoroutines(t *testing.T) {
	f := open(t, write(t, craft(one(`"F32"`, `[1000]`, `[0,4000]`), 4000)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := f.Float32s("a"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkFloat32s(b *testing.B) {
	const n = 1 << 22
	for _, dtype := range []DType{F32, BF16, F16} {
		b.Run(string(dtype), func(b *testing.B) {
			data := make([]byte, n*int(dtype.Bits()/8))
			dst := make([]float32, n)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				toFloat32s(dst, dtype, data)
			}
		})
	}
}

func BenchmarkReadHeader(b *testing.B) {
	h := newHeaderText(FormatPT)
	for i := range 2000 {
		h.add(Tensor{Name: "model.layers." + string(rune('a'+i%26)) + strings.Repeat("x", i/26), DType: U8, Shape: []int{4, 2}, Data: make([]byte, 8)})
	}
	text := h.padded(0)
	data := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	size := int64(len(data)) + h.end
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readHeader("x", data, size); err != nil {
			b.Fatal(err)
		}
	}
}
