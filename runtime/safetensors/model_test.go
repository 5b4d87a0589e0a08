package safetensors

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pipe/internal/golden"
)

// folder writes a model folder. A value that begins with '{' or is no list of
// tensors is written as it is; otherwise it lists the tensors of a shard.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		var err error
		if strings.HasSuffix(name, ".safetensors") && content != "broken" {
			var tensors []Tensor
			for i, tensor := range strings.Fields(content) {
				tensors = append(tensors, Tensor{tensor, U8, []int{1}, []byte{byte(i)}})
			}
			err = WriteFile(path, tensors, FormatPT)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func weightMap(pairs ...string) string {
	var b strings.Builder
	b.WriteString("{\n  \"metadata\": {\"total_size\": 12, \"x\": [1.5e3, null, {\"y\": true}]},\n  \"weight_map\": {")
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n    %q: %q", pairs[i], pairs[i+1])
	}
	b.WriteString("\n  }\n}\n")
	return b.String()
}

func TestOpenModelReadsTheShardsOfTheIndexAlone(t *testing.T) {
	dir := folder(t, map[string]string{
		indexName:                  weightMap("b", "s2.safetensors", "a", "s1.safetensors", "c", "s2.safetensors"),
		"s1.safetensors":           "a",
		"s2.safetensors":           "b c",
		"consolidated.safetensors": "broken",
		"model.safetensors":        "z",
		"pytorch_model.bin":        "pickle",
	})
	m, err := OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := m.Names(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %v", got)
	}
	if data, err := m.Bytes("c"); err != nil || data[0] != 1 {
		t.Errorf("c: got %v, %v", data, err)
	}
	if got := m.Metadata()["format"]; got != "pt" {
		t.Errorf("metadata: format is %q", got)
	}
	if _, ok := m.Info("z"); ok {
		t.Error("a tensor of a file that the index does not name")
	}
	if _, err := m.Bytes("z"); err == nil {
		t.Error("bytes of a tensor that is not there")
	}
}

func TestOpenModelReadsASingleFile(t *testing.T) {
	dir := folder(t, map[string]string{"model.safetensors": "b a", "other.safetensors": "c"})
	m, err := OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := m.Tensors(); len(got) != 2 || got[0].Name != "a" || got[1].Name != "b" {
		t.Errorf("got %v", got)
	}
}

func TestOpenModelRefusesLies(t *testing.T) {
	const s1 = "s1.safetensors"
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"empty folder", nil, []string{"neither model.safetensors nor"}},
		{"pickles only", map[string]string{"pytorch_model.bin": "", "consolidated.00.pth": ""}, []string{"only PyTorch pickles are here (consolidated.00.pth, pytorch_model.bin)", "hint: a pickle can run code"}},
		{"adapter", map[string]string{"adapter_model.safetensors": "a"}, []string{"hint: the folder holds adapter_model.safetensors"}},
		{"single file broken", map[string]string{"model.safetensors": "broken"}, []string{"byte 6: the file ends after 6 bytes"}},
		{"index is no JSON", map[string]string{indexName: "weight_map"}, []string{":1:1: expected '{'"}},
		{"index is not UTF-8", map[string]string{indexName: "{\n\"\xff\": 1}"}, []string{":2:2: byte 0xff is not UTF-8"}},
		{"index without map", map[string]string{indexName: `{"metadata": {}}`}, []string{"no weight_map"}},
		{"map names nothing", map[string]string{indexName: `{"weight_map": {}}`}, []string{"names no tensor"}},
		{"map is a list", map[string]string{indexName: `{"weight_map": []}`}, []string{":1:16: expected '{'"}},
		{"shard is a number", map[string]string{indexName: `{"weight_map": {"a": 1}}`}, []string{":1:22: expected a string"}},
		{"text after the index", map[string]string{indexName: weightMap("a", s1) + "x"}, []string{":7:1: text after the end"}},
		{"bad value beside the map", map[string]string{indexName: `{"x": nul, "weight_map": {"a": "s"}}`}, []string{":1:7: expected a value"}},
		{"deeply nested metadata", map[string]string{indexName: `{"metadata": ` + strings.Repeat("[", 100)}, []string{"nested deeper than 32"}},
		{"tensor twice in the index", map[string]string{indexName: weightMap("a", s1, "a", s1), s1: "a"}, []string{`:5:5: key "a" occurs twice`}},
		{"shard missing", map[string]string{indexName: weightMap("a", s1, "b", "s2.safetensors"), s1: "a"}, []string{`:5:5: shard "s2.safetensors" is missing`}},
		{"shard broken", map[string]string{indexName: weightMap("a", s1), s1: "broken"}, []string{"s1.safetensors: byte 6: the file ends"}},
		{"tensor not in its shard", map[string]string{indexName: weightMap("a", s1, "b", s1), s1: "a"}, []string{`:5:5: tensor "b" is not in s1.safetensors`}},
		{"tensor not in the index", map[string]string{indexName: weightMap("a", s1), s1: "a b"}, []string{`tensor "b" is not in model.safetensors.index.json`}},
		{"tensor in two shards", map[string]string{indexName: weightMap("a", s1, "b", "s2.safetensors"), s1: "a", "s2.safetensors": "b a"}, []string{`tensor "a" is here, but the index places it in s1.safetensors`}},
		{"shard above the folder", map[string]string{indexName: weightMap("a", "../s1.safetensors"), s1: "a"}, []string{`outside the model's folder: "../s1.safetensors"`}},
		{"shard by absolute path", map[string]string{indexName: weightMap("a", "/etc/s1.safetensors"), s1: "a"}, []string{"outside the model's folder"}},
		{"shard with backslash", map[string]string{indexName: weightMap("a", `..\s1.safetensors`), s1: "a"}, []string{"outside the model's folder"}},
		{"shard is the folder", map[string]string{indexName: weightMap("a", "..")}, []string{"outside the model's folder"}},
		{"shard without a name", map[string]string{indexName: weightMap("a", "")}, []string{"name of a shard is empty"}},
		{"shard is a pickle", map[string]string{indexName: weightMap("a", "pytorch_model.bin"), "pytorch_model.bin": ""}, []string{"is a PyTorch pickle"}},
		{"shard is something else", map[string]string{indexName: weightMap("a", "config.json"), "config.json": "{}"}, []string{"no .safetensors file"}},
		{"several at once", map[string]string{indexName: weightMap("a", s1, "b", "../x.safetensors", "c", "s3.safetensors"), s1: "x"},
			[]string{`:4:5: tensor "a" is not`, ":5:5: a shard outside", ":6:5: shard", `tensor "x" is not in`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := OpenModel(folder(t, test.files))
			if err == nil {
				m.Close()
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestOpenModelStopsAtManyMissingShards(t *testing.T) {
	var pairs []string
	for i := range 3000 {
		pairs = append(pairs, fmt.Sprint("t", i), fmt.Sprintf("s%d.safetensors", i))
	}
	_, err := OpenModel(folder(t, map[string]string{indexName: weightMap(pairs...)}))
	if err == nil || strings.Count(err.Error(), "is missing") != maxProblems {
		t.Errorf("got %.300v", err)
	}
}

func TestGoldenShardedModelIsTheSingleFileRounded(t *testing.T) {
	whole, err := OpenModel(golden.Path(t, "model/a-fp32"))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	sharded, err := OpenModel(golden.Path(t, "model/a-bf16-sharded"))
	if err != nil {
		t.Fatal(err)
	}
	defer sharded.Close()
	if !slices.Equal(whole.Names(), sharded.Names()) {
		t.Fatalf("got %v, want %v", sharded.Names(), whole.Names())
	}
	for _, name := range whole.Names() {
		exact, err := whole.Float32s(name)
		if err != nil {
			t.Fatal(err)
		}
		rounded, err := sharded.Copy(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(AppendFloat32s(nil, BF16, exact)) != string(rounded) {
			t.Errorf("%s differs", name)
		}
	}
}
