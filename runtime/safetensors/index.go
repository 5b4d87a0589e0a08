package safetensors

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"pipe/internal/problem"
)

// indexName is the file that says which tensor of a model is in which shard.
const indexName = "model.safetensors.index.json"

// entry is one line of an index: a tensor and the shard that holds it.
type entry struct {
	tensor, shard string
	at            int // the byte of the index that it begins at
}

// index is a parsed index file.
type index struct {
	path    string
	text    []byte
	entries []entry
}

// readIndex reads {"metadata": …, "weight_map": {tensor: shard}}. Other members
// are skipped. Sizes in the metadata are not looked at: published models have
// wrong ones.
func readIndex(path string) (*index, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Size() > maxHeader {
		return nil, problem.List{problem.AtByte(path, maxHeader, "an index of %d bytes: at most %d are allowed", info.Size(), maxHeader)}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	x := &index{path: path, text: text}
	return x, x.parse()
}

func (x *index) parse() error {
	if i := invalidUTF8(x.text); i >= 0 {
		return problem.List{x.problem(i, "byte 0x%02x is not UTF-8", x.text[i])}
	}
	s := &scanner{data: x.text}
	found := false
	err := s.object(func(key string, _ int) error {
		if key != "weight_map" {
			return s.skip(0)
		}
		found = true
		return s.object(func(tensor string, at int) error {
			shard, err := s.text()
			x.entries = append(x.entries, entry{tensor, shard, at})
			return err
		})
	})
	if err == nil && !s.atEnd() {
		err = s.fail(s.pos, "text after the end of the index")
	}
	var bad *syntaxError
	switch {
	case errors.As(err, &bad):
		return problem.List{x.problem(bad.pos, "%s", bad.message)}
	case !found:
		return problem.List{x.problem(0, "no weight_map")}
	case len(x.entries) == 0:
		return problem.List{x.problem(0, "weight_map names no tensor")}
	}
	return nil
}

// problem places a problem at a byte of the index.
func (x *index) problem(at int, format string, args ...any) problem.Problem {
	at = min(at, len(x.text))
	before := x.text[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	line, _, _ := bytes.Cut(x.text[start:], []byte("\n"))
	p := problem.At(x.path, bytes.Count(before, []byte("\n"))+1, at-start+1, format, args...)
	p.Source = string(line[:min(len(line), at-start+200)])
	return p
}

// checkShardName returns why a shard must not be opened, or nothing.
func checkShardName(name string) (message, hint string) {
	switch {
	case name == "":
		return "the name of a shard is empty", ""
	case strings.ContainsAny(name, "/\\:\x00") || name == "." || name == "..":
		return "a shard outside the model's folder", "shards lie beside the index; their names have no path"
	case isPickle(name):
		return "the shard is a PyTorch pickle", convertHint
	case !strings.HasSuffix(name, ".safetensors"):
		return "the shard is no .safetensors file", ""
	}
	return "", ""
}
