package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pipe/internal/problem"
)

// craft returns a file with this header and n bytes of data.
func craft(header string, n int) []byte {
	data := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(data, header...), make([]byte, n)...)
}

// one returns the header of a file with a single tensor "a".
func one(dtype, shape, offsets string) string {
	return fmt.Sprintf(`{"a":{"dtype":%s,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
}

// two returns the header of a file with tensors "a" and "b" of bytes.
func two(shapeA, offsetsA, shapeB, offsetsB string) string {
	return fmt.Sprintf(`{"a":{"dtype":"U8","shape":%s,"data_offsets":%s},"b":{"dtype":"U8","shape":%s,"data_offsets":%s}}`,
		shapeA, offsetsA, shapeB, offsetsB)
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenAcceptsWhatTheFormatAllows(t *testing.T) {
	tests := []struct {
		name string
		data []byte
	}{
		{"no tensor", craft(`{}`, 0)},
		{"no tensor, padded", craft(`{}      `, 0)},
		{"metadata only", craft(`{"__metadata__":{"format":"pt","":""}}`, 0)},
		{"scalar", craft(one(`"F32"`, `[]`, `[0,4]`), 4)},
		{"no element", craft(one(`"F32"`, `[3,0,5]`, `[0,0]`), 0)},
		{"huge dimensions with none of it", craft(one(`"F32"`, `[0,9223372036854775807,9]`, `[0,0]`), 0)},
		{"half bytes that fill bytes", craft(one(`"F4"`, `[3,2]`, `[0,3]`), 3)},
		{"six-bit elements", craft(one(`"F6_E2M3"`, `[4]`, `[0,3]`), 3)},
		{"white space inside", craft("{ \"a\" :\n{\"shape\": [ 1 , 2 ],\t\"data_offsets\":[0, 2],\"dtype\":\"U8\"}\r}", 2)},
		{"escapes in names", craft(`{"\u00e9\n\ud83d\ude00\ufffd":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1)},
		{"header not in the order of data", craft(two(`[2]`, `[1,3]`, `[1]`, `[0,1]`), 3)},
		{"empty tensor between others", craft(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3)},
		{"unaligned", craft(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}}`, 9)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, err := Open(write(t, test.data))
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		})
	}
}

// lies are files that claim what is not so. at is the byte that must be named,
// -1 where it does not matter.
var lies = []struct {
	name string
	data []byte
	at   int64
	want string
}{
	{"empty file", nil, 0, "ends after 0 bytes"},
	{"three bytes", []byte{1, 2, 3}, 3, "ends after 3 bytes"},
	{"length only", make([]byte, 8), 8, "does not begin with '{'"},
	{"header of 2^64-1", []byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), 0, "at most 100000000"},
	{"header of 2^63", []byte("\x00\x00\x00\x00\x00\x00\x00\x80{}"), 0, "at most 100000000"},
	{"header one above the limit", append(binary.LittleEndian.AppendUint64(nil, maxHeader+1), "{}"...), 0, "at most 100000000"},
	{"header longer than the file", append(binary.LittleEndian.AppendUint64(nil, 90), "{}"...), 10, "88 of 90 bytes are missing"},
	{"array", craft(`[]`, 0), 8, "does not begin with '{'"},
	{"space first", craft(` {}`, 0), 8, "does not begin with '{'"},
	{"BOM first", craft("\ufeff{}", 0), 8, "does not begin with '{'"},
	{"not UTF-8", craft("{\"a\xff\":1}", 0), 11, "byte 0xff is not UTF-8"},
	{"surrogate in UTF-8", craft("{\"\xed\xa0\x80\":1}", 0), 10, "not UTF-8"},
	{"unclosed object", craft(`{`, 0), 9, "found the end"},
	{"unclosed string", craft(`{"a`, 0), 9, "string without an end"},
	{"NUL after the end", craft("{}\x00", 0), 10, "0x00 after its end"},
	{"newline after the end", craft("{}\n", 0), 10, "0x0a after its end"},
	{"second object", craft("{}  {}", 0), 12, "0x7b after its end"},
	{"trailing comma", craft(`{"__metadata__":{},}`, 0), 27, "expected a string"},
	{"missing comma", craft(`{"__metadata__":{}"a":{}}`, 0), 26, "expected ','"},
	{"missing colon", craft(`{"a"{}}`, 0), 12, "expected ':'"},
	{"bare name", craft(`{a:{}}`, 0), 9, "expected a string"},
	{"comment", craft(`{/**/}`, 0), 9, "expected a string"},
	{"control character in a name", craft("{\"a\tb\":{}}", 0), 11, "control character 0x09"},
	{"bad escape", craft(`{"\x":{}}`, 0), 9, "bad escape"},
	{"half a surrogate pair", craft(`{"\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), 9, "surrogate"},
	{"tensor twice", craft(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), 61, `"a" occurs twice`},
	{"tensor twice, once escaped", craft(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), 61, `"a" occurs twice`},
	{"metadata twice", craft(`{"__metadata__":{},"__metadata__":{}}`, 0), 27, "occurs twice"},
	{"metadata key twice", craft(`{"__metadata__":{"k":"1","k":"2"}}`, 0), 33, "occurs twice"},
	{"shape twice", craft(`{"a":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,1]}}`, 1), 39, "occurs twice"},
	{"metadata not an object", craft(`{"__metadata__":"pt"}`, 0), 24, "expected '{'"},
	{"metadata with a number", craft(`{"__metadata__":{"n":1}}`, 0), 29, "expected a string"},
	{"tensor is null", craft(`{"a":null}`, 0), 13, "expected '{'"},
	{"no dtype", craft(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), 9, "lacks one of"},
	{"no shape", craft(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), 9, "lacks one of"},
	{"no offsets", craft(`{"a":{"dtype":"U8","shape":[1]}}`, 1), 9, "lacks one of"},
	{"unknown member", craft(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1), 60, `unknown member "x"`},
	{"unknown dtype", craft(one(`"F31"`, `[1]`, `[0,4]`), 4), 9, `unknown dtype "F31"`},
	{"dtype in small letters", craft(one(`"f32"`, `[1]`, `[0,4]`), 4), 9, `unknown dtype "f32"`},
	{"dtype is a number", craft(one(`32`, `[1]`, `[0,4]`), 4), 22, "expected a string"},
	{"negative dimension", craft(one(`"U8"`, `[-1]`, `[0,1]`), 1), 36, "-1 is negative"},
	{"fraction as dimension", craft(one(`"U8"`, `[1.0]`, `[0,1]`), 1), 36, "1.0 is not a plain whole number"},
	{"exponent as dimension", craft(one(`"U8"`, `[1e0]`, `[0,1]`), 1), 36, "1e0 is not a plain whole number"},
	{"leading zero", craft(one(`"U8"`, `[01]`, `[0,1]`), 1), 36, "01 is not a plain whole number"},
	{"dimension is a string", craft(one(`"U8"`, `["1"]`, `[0,1]`), 1), 36, "expected a number"},
	{"dimension above 2^63", craft(one(`"U8"`, `[18446744073709551616]`, `[0,1]`), 1), 36, "too large"},
	{"nested shape", craft(one(`"U8"`, `[[1]]`, `[0,1]`), 1), 36, "expected a number"},
	{"65 dimensions", craft(one(`"U8"`, `[1`+strings.Repeat(",1", 64)+`]`, `[0,1]`), 1), -1, "more than 64 dimensions"},
	{"product overflows", craft(one(`"U8"`, `[4294967296,4294967296]`, `[0,0]`), 0), 9, "overflows"},
	{"product wraps to the right size", craft(one(`"U8"`, `[4294967297,4294967297]`, `[0,8589934593]`), 8), 9, "overflows"},
	{"bytes overflow", craft(one(`"F64"`, `[2305843009213693952]`, `[0,0]`), 0), 9, "overflows"},
	{"overflow before a zero", craft(one(`"F64"`, `[4294967296,4294967296,0]`, `[0,0]`), 0), 9, "overflows"},
	{"half a byte", craft(one(`"F4"`, `[3]`, `[0,2]`), 2), 9, "whole bytes"},
	{"range too short", craft(one(`"F32"`, `[2]`, `[0,4]`), 4), 9, "takes 8 bytes, data_offsets [0, 4] give it 4"},
	{"range too long", craft(one(`"F32"`, `[2]`, `[0,12]`), 12), 9, "takes 8 bytes"},
	{"range for an empty tensor", craft(one(`"F32"`, `[0]`, `[0,4]`), 4), 9, "takes 0 bytes"},
	{"range backwards", craft(one(`"U8"`, `[4]`, `[4,0]`), 4), 9, "run backwards"},
	{"one offset", craft(one(`"U8"`, `[4]`, `[4]`), 4), 54, "1 numbers, not 2"},
	{"three offsets", craft(one(`"U8"`, `[4]`, `[0,4,8]`), 4), 54, "3 numbers, not 2"},
	{"negative offset", craft(one(`"U8"`, `[4]`, `[-4,0]`), 4), 55, "-4 is negative"},
	{"offset near 2^63", craft(one(`"U8"`, `[1]`, `[9223372036854775806,9223372036854775807]`), 1), 54, "too large"},
	{"hole at the start", craft(one(`"U8"`, `[4]`, `[4,8]`), 8), 9, "the 4 bytes before it belong to no tensor"},
	{"hole between", craft(two(`[2]`, `[0,2]`, `[2]`, `[3,5]`), 5), 61, "the 1 bytes before it belong to no tensor"},
	{"overlap", craft(two(`[2]`, `[0,2]`, `[2]`, `[1,3]`), 3), 61, "inside the tensor before it, which ends at 2"},
	{"same range twice", craft(two(`[2]`, `[0,2]`, `[2]`, `[0,2]`), 2), 61, "inside the tensor before it"},
	{"empty tensor inside another", craft(two(`[4]`, `[0,4]`, `[0]`, `[2,2]`), 4), 61, "inside the tensor before it"},
	{"empty tensor beyond the end", craft(two(`[4]`, `[0,4]`, `[0]`, `[9,9]`), 4), 61, "belong to no tensor"},
	{"one byte missing", craft(one(`"U8"`, `[4]`, `[0,4]`), 3), 8 + 53 + 3, "1 bytes of data are missing"},
	{"no data at all", craft(one(`"U8"`, `[4]`, `[0,4]`), 0), 8 + 53, "4 bytes of data are missing"},
	{"one byte too many", craft(one(`"U8"`, `[4]`, `[0,4]`), 5), 8 + 53 + 4, "1 bytes after the end of the last tensor"},
	{"data without tensors", craft(`{}`, 3), 10, "3 bytes after"},
	{"deep nesting", craft(`{"a":`+strings.Repeat("[", 10000)+`}`, 0), 13, "expected '{'"},
	{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), 0, "git lfs pull"},
	{"PyTorch zip", []byte("PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00"), 0, "pickle"},
	{"web page", []byte("<!DOCTYPE html><html><body>401"), 0, "download failed"},
}

func TestOpenRefusesLies(t *testing.T) {
	if len(lies) < 60 {
		t.Errorf("%d lies, fewer than 60", len(lies))
	}
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			f, err := Open(write(t, lie.data))
			if err == nil {
				f.Close()
				t.Fatal("accepted")
			}
			if f != nil {
				t.Error("a file came with the error")
			}
			var list problem.List
			if !errors.As(err, &list) {
				t.Fatalf("%T: %v, want a problem.List", err, err)
			}
			if !strings.Contains(err.Error(), lie.want) {
				t.Errorf("got %v, want %q in it", err, lie.want)
			}
			if got := list[0].Offset; lie.at >= 0 && got != lie.at || !list[0].Binary {
				t.Errorf("got byte %d, want %d: %v", got, lie.at, err)
			}
		})
	}
}

func TestOpenReportsAllThatIsWrong(t *testing.T) {
	header := two(`[2]`, `[0,3]`, `[9]`, `[3,4]`)
	_, err := Open(write(t, craft(header, 2)))
	var list problem.List
	if !errors.As(err, &list) || len(list) != 3 {
		t.Fatalf("got %v, want both sizes and the missing bytes", err)
	}
}

func TestProblemsOfAHostileHeaderAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 5000 {
		fmt.Fprintf(&b, `"%d%s":{"dtype":"X","shape":[],"data_offsets":[7,7]},`, i, strings.Repeat("n", 300))
	}
	b.WriteString(`"z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`)
	_, err := Open(write(t, craft(b.String(), 0)))
	var list problem.List
	if !errors.As(err, &list) || len(list) > maxProblems+1 || len(err.Error()) > 100_000 {
		t.Errorf("got %d problems, %d bytes of text", len(list), len(err.Error()))
	}
}

func TestMemoryIsProportionalToTheHeader(t *testing.T) {
	// Claims of 2^60 elements cost nothing; a header of many small entries costs
	// a small multiple of its own size.
	var b strings.Builder
	b.WriteByte('{')
	for i := range 20000 {
		fmt.Fprintf(&b, `"%d":{"dtype":"U8","shape":[],"data_offsets":[%d,%d]},`, i, i, i+1)
	}
	b.WriteString(`"z":{"dtype":"U8","shape":[1152921504606846976],"data_offsets":[20000,1152921504606866976]}}`)
	data := craft(b.String(), 20000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readHeader("x", data, int64(len(data))); err == nil {
		t.Fatal("accepted")
	}
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(10*len(data)); got > limit {
		t.Errorf("%d bytes allocated for a header of %d", got, len(data))
	}
}

func FuzzHeader(f *testing.F) {
	for _, lie := range lies {
		if len(lie.data) < 1<<12 {
			f.Add(lie.data)
		}
	}
	seeds, _ := filepath.Glob("testdata/seeds/*.safetensors")
	if len(seeds) == 0 {
		f.Fatal("no seeds in testdata/seeds")
	}
	for _, seed := range seeds {
		data, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := readHeader("fuzz", data, int64(len(data)))
		if err != nil {
			if len(h.tensors) > 0 || h.metadata != nil {
				t.Error("something was returned with an error")
			}
			var list problem.List
			if !errors.As(err, &list) {
				t.Errorf("%T: %v", err, err)
			}
			for _, p := range list {
				if !p.Binary || p.Offset < 0 || p.Offset > int64(len(data)) {
					t.Errorf("a problem outside the file: %v", p)
				}
			}
			return
		}
		end := int64(8 + binary.LittleEndian.Uint64(data))
		for _, tensor := range h.tensors {
			size, message := sizeOf(tensor.DType, tensor.Shape)
			if tensor.Begin != end || tensor.End-tensor.Begin != size || message != "" {
				t.Errorf("inconsistent: %+v", tensor)
			}
			end = tensor.End
		}
		if end != int64(len(data)) {
			t.Errorf("ends at %d of %d", end, len(data))
		}
	})
}

func TestAHeaderOfAnyLengthIsRead(t *testing.T) {
	for length := 600; length < 1200; length += 8 {
		path := filepath.Join(t.TempDir(), "m.safetensors")
		header := `{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`
		file := binary.LittleEndian.AppendUint64(nil, uint64(length))
		file = append(file, header+strings.Repeat(" ", length-len(header))...)
		if err := os.WriteFile(path, file, 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatalf("header of %d bytes: %v", length, err)
		}
		f.Close()
	}
}
