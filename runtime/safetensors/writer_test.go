package safetensors

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func create(t *testing.T, path string, names ...string) *Writer {
	t.Helper()
	w, err := Create(path, names, FormatPT)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Abort)
	return w
}

func bytesTensor(name string, data ...byte) Tensor {
	return Tensor{name, U8, []int{len(data)}, data}
}

func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWriterWritesWhatOpenReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	w := create(t, path, "wide", "codes", "state", "half", "scalar", "none", "long", `quote"\é`)
	random := rand.New(rand.NewPCG(1, 2))
	tensors := []Tensor{
		bytesTensor("state", []byte(`{"quant_type": "nf4"}`)...),
		{"half", BF16, []int{3}, []byte{1, 2, 3, 4, 5, 6}},
		{"wide", F32, []int{2, 3}, make([]byte, 24)},
		{"scalar", F32, nil, []byte{1, 2, 3, 4}},
		bytesTensor("codes", 1, 2, 3, 4, 5, 6, 7, 8),
		{"none", F32, []int{0, 7}, nil},
		{"long", I64, []int{1 << 18}, make([]byte, 8<<18)},
		bytesTensor(`quote"\é`, 9),
	}
	for i := range tensors {
		for j := range tensors[i].Data {
			tensors[i].Data[j] ^= byte(random.Uint32())
		}
		given := tensors[i]
		given.Data = slices.Clone(given.Data)
		if err := w.Add(given); err != nil {
			t.Fatal(err)
		}
		clear(given.Data) // the writer must not need it any more
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if len(f.Names()) != len(tensors) || f.Metadata()["format"] != "pt" {
		t.Errorf("got %v, %v", f.Names(), f.Metadata())
	}
	for _, want := range tensors {
		data, err := f.Bytes(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := f.Info(want.Name)
		if !bytes.Equal(data, want.Data) || !slices.Equal(info.Shape, want.Shape) || info.DType != want.DType {
			t.Errorf("%s: got %+v", want.Name, info)
		}
		if info.Begin%(info.DType.Bits()/8) != 0 {
			t.Errorf("%s: %s at byte %d", want.Name, info.DType, info.Begin)
		}
	}
}

func TestWriterIsDeterministic(t *testing.T) {
	dir := t.TempDir()
	var files [2][]byte
	for i := range files {
		path := filepath.Join(dir, "x")
		w, err := Create(path, []string{"a", "b", "c"}, map[string]string{"z": "1", "format": "pt", "a": "2"})
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range []Tensor{bytesTensor("b", 1), bytesTensor("a", 2, 3), bytesTensor("c", make([]byte, 16)...)} {
			if err := w.Add(tensor); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		files[i], _ = os.ReadFile(path)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same tensors gave other bytes")
	}
	if !bytes.Contains(files[0], []byte(`{"__metadata__":{"a":"2","format":"pt","z":"1"},"c":{"dtype":"U8","shape":[16],"data_offsets":[0,16]},"b":`)) {
		t.Errorf("header is %s", files[0][8:200])
	}
}

func TestWriterLeavesNothingBehindUnlessCommitted(t *testing.T) {
	tests := []struct {
		name string
		use  func(w *Writer) error
		want string
	}{
		{"aborted", func(w *Writer) error { w.Add(bytesTensor("a", 1)); w.Abort(); return w.Commit() }, "closed"},
		{"tensor missing", func(w *Writer) error { w.Add(bytesTensor("a", 1)); return w.Commit() }, `1 tensors are missing, among them "b"`},
		{"committed twice", func(w *Writer) error { w.Commit(); return w.Commit() }, "missing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "model.safetensors")
			if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			w := create(t, path, "a", "b")
			if err := test.use(w); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if names := left(t, dir); len(names) != 1 {
				t.Errorf("left behind: %v", names)
			}
			if data, _ := os.ReadFile(path); string(data) != "old" {
				t.Error("the old file was touched")
			}
		})
	}
}

func TestHalfWrittenFileDoesNotLookRight(t *testing.T) {
	dir := t.TempDir()
	w := create(t, filepath.Join(dir, "model.safetensors"), "a", "b")
	if err := w.Add(bytesTensor("a", make([]byte, 4<<20)...)); err != nil {
		t.Fatal(err)
	}
	names := left(t, dir)
	if len(names) != 1 || !strings.HasPrefix(names[0], ".model.safetensors.tmp-") {
		t.Fatalf("got %v", names)
	}
	if _, err := Open(filepath.Join(dir, names[0])); err == nil {
		t.Error("the half file can be opened")
	}
}

func TestAddRefusesWhatCannotBeRead(t *testing.T) {
	w := create(t, filepath.Join(t.TempDir(), "x"), "a", "", "__metadata__", "bad\xff", "once")
	if err := w.Add(bytesTensor("once", 1)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []Tensor{
		bytesTensor("unannounced"), bytesTensor("once", 1), bytesTensor(""), bytesTensor("__metadata__"), bytesTensor("bad\xff"),
		{"a", "F31", []int{1}, make([]byte, 4)},
		{"a", F32, []int{1}, make([]byte, 3)},
		{"a", F32, []int{-1}, nil},
		{"a", U8, []int{math.MaxInt, math.MaxInt, 4}, nil},
		{"a", "F4", []int{3}, make([]byte, 1)},
		{"a", U8, make([]int, maxDimensions+1), nil},
	} {
		if err := w.Add(bad); err == nil {
			t.Errorf("accepted %q %s %v", bad.Name, bad.DType, bad.Shape)
		}
	}
	if err := WriteFile(filepath.Join(t.TempDir(), "x"), []Tensor{bytesTensor("a"), bytesTensor("a")}, nil); err == nil {
		t.Error("a name was written twice")
	}
}

func TestWriterTakesAFullHeader(t *testing.T) {
	// Names that grow when quoted, and the largest dimensions that are reserved for.
	names := []string{strings.Repeat("\x01", 50), strings.Repeat(`"`, 50), "plain"}
	path := filepath.Join(t.TempDir(), "x")
	w := create(t, path, names...)
	for _, name := range names {
		if err := w.Add(Tensor{name, "F8_E5M2FNUZ", []int{0, math.MaxInt}, nil}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestWriterRefusesTooManyNames(t *testing.T) {
	if _, err := Create(filepath.Join(t.TempDir(), "x"), slices.Repeat([]string{"n"}, maxHeader/entryBytes), nil); err == nil {
		t.Error("a header above the format's limit was reserved")
	}
}
