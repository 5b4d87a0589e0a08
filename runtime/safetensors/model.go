package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pipe/internal/problem"
)

// Model is the tensors of a model folder, which may be spread over several
// files. It may be used by several goroutines at a time.
type Model struct {
	dir    string
	shards []*File
	shard  map[string]*File // by tensor
	names  []string
}

// OpenModel opens the tensors of the model in the folder dir: the shards that
// model.safetensors.index.json names, and no others, or else model.safetensors.
//
// Index and shards must agree: every shard is there, holds exactly the tensors
// that the index places in it, and lies in dir itself. All that is wrong is
// returned as one problem.List. A folder with nothing but pickles (.bin, .pt,
// .pth) is refused.
func OpenModel(dir string) (*Model, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, problem.List{{File: dir, Message: "not a folder", Hint: "a model is a folder with config.json and model.safetensors"}}
	}
	m := &Model{dir: dir, shard: map[string]*File{}}
	x, err := readIndex(filepath.Join(dir, indexName))
	switch {
	case err == nil:
		err = m.openShards(x)
	case errors.Is(err, fs.ErrNotExist):
		err = m.openSingle()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	m.names = slices.Sorted(maps.Keys(m.shard))
	return m, nil
}

func (m *Model) openSingle() error {
	f, err := Open(filepath.Join(m.dir, "model.safetensors"))
	if errors.Is(err, fs.ErrNotExist) {
		return noModel(m.dir)
	}
	if err != nil {
		return err
	}
	m.shards = []*File{f}
	for _, t := range f.header.tensors {
		m.shard[t.Name] = f
	}
	return nil
}

// openShards opens what the index names and holds the two to each other.
func (m *Model) openShards(x *index) error {
	var problems problem.List
	open := map[string]*File{}    // by the shard's name; nil if it cannot be opened
	placed := map[string]string{} // the shard that the index places a tensor in
	for _, e := range x.entries {
		placed[e.tensor] = e.shard
		f, known := open[e.shard]
		if !known {
			f = m.openShard(x, e, &problems)
			open[e.shard] = f
		}
		if f == nil {
			continue
		}
		if _, ok := f.Info(e.tensor); !ok {
			problems.Add(x.problem(e.at, "tensor %.100q is not in %s", e.tensor, e.shard))
		}
		m.shard[e.tensor] = f
		if len(problems) >= maxProblems {
			return problems.Err()
		}
	}
	for _, f := range m.shards {
		for _, t := range f.header.tensors {
			switch place := placed[t.Name]; place {
			case filepath.Base(f.path):
			case "":
				problems.Add(problem.AtByte(f.path, t.at, "tensor %.100q is not in %s", t.Name, indexName))
			default:
				problems.Add(problem.AtByte(f.path, t.at, "tensor %.100q is here, but the index places it in %s", t.Name, place))
			}
		}
	}
	return problems[:min(len(problems), maxProblems)].Err()
}

func (m *Model) openShard(x *index, e entry, problems *problem.List) *File {
	if message, hint := checkShardName(e.shard); message != "" {
		problems.Add(x.problem(e.at, "%s: %.100q", message, e.shard).WithHint("%s", hint))
		return nil
	}
	f, err := Open(filepath.Join(m.dir, e.shard))
	if err == nil {
		m.shards = append(m.shards, f)
		return f
	}
	var list problem.List
	switch {
	case errors.As(err, &list):
		*problems = append(*problems, list...)
	case errors.Is(err, fs.ErrNotExist):
		problems.Add(x.problem(e.at, "shard %.100q is missing", e.shard).WithHint("the model is incomplete: fetch it again"))
	default:
		problems.Add(x.problem(e.at, "shard %.100q: %v", e.shard, err))
	}
	return nil
}

// convertHint says what to do about a model that is there as a pickle only.
const convertHint = "a pickle can run code when it is read, so it is refused; " +
	"take the repository's safetensors files, or convert them with huggingface.co/spaces/safetensors/convert"

func isPickle(name string) bool {
	switch filepath.Ext(name) {
	case ".bin", ".pt", ".pth", ".pkl", ".ckpt":
		return true
	}
	return false
}

// noModel says what dir holds instead of a model.
func noModel(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var pickles, others []string
	for _, e := range entries {
		switch {
		case isPickle(e.Name()):
			pickles = append(pickles, e.Name())
		case strings.HasSuffix(e.Name(), ".safetensors"):
			others = append(others, e.Name())
		}
	}
	p := problem.Problem{File: dir, Message: "neither model.safetensors nor " + indexName + " is here"}
	switch {
	case len(others) > 0:
		p.Hint = "the folder holds " + strings.Join(others[:min(len(others), 5)], ", ") + "; a model's file is called model.safetensors"
	case len(pickles) > 0:
		p.Message = fmt.Sprintf("only PyTorch pickles are here (%s)", strings.Join(pickles[:min(len(pickles), 5)], ", "))
		p.Hint = convertHint
	}
	return problem.List{p}
}

// Close closes all files of the model. Slices that Bytes returned must not be
// used any more.
func (m *Model) Close() error {
	var first error
	for _, f := range m.shards {
		if err := f.Close(); first == nil {
			first = err
		}
	}
	return first
}

// Path returns the folder.
func (m *Model) Path() string { return m.dir }

// Metadata returns the texts that the files' headers hold beside the tensors. Of
// a key that several files have, the first file counts.
func (m *Model) Metadata() map[string]string {
	all := map[string]string{}
	for _, f := range slices.Backward(m.shards) {
		maps.Copy(all, f.Metadata())
	}
	return all
}

// Names returns the names of all tensors, sorted. It must not be changed.
func (m *Model) Names() []string { return m.names }

// Tensors describes all tensors, sorted by name. Their ranges are in different
// files.
func (m *Model) Tensors() []Info {
	infos := make([]Info, len(m.names))
	for i, name := range m.names {
		infos[i], _ = m.Info(name)
	}
	return infos
}

// Info describes a tensor; false if there is none of that name.
func (m *Model) Info(name string) (Info, bool) {
	f, ok := m.shard[name]
	if !ok {
		return Info{}, false
	}
	return f.Info(name)
}

// file returns the file that holds a tensor.
func (m *Model) file(name string) (*File, error) {
	if f, ok := m.shard[name]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("%s: no tensor %q", m.dir, name)
}

// Bytes is File.Bytes of the file that holds the tensor.
func (m *Model) Bytes(name string) ([]byte, error) {
	f, err := m.file(name)
	if err != nil {
		return nil, err
	}
	return f.Bytes(name)
}

// Copy is File.Copy of the file that holds the tensor.
func (m *Model) Copy(name string) ([]byte, error) {
	f, err := m.file(name)
	if err != nil {
		return nil, err
	}
	return f.Copy(name)
}

// Float32s is File.Float32s of the file that holds the tensor.
func (m *Model) Float32s(name string) ([]float32, error) {
	f, err := m.file(name)
	if err != nil {
		return nil, err
	}
	return f.Float32s(name)
}

// ReadFloat32s is File.ReadFloat32s of the file that holds the tensor.
func (m *Model) ReadFloat32s(dst []float32, name string) error {
	f, err := m.file(name)
	if err != nil {
		return err
	}
	return f.ReadFloat32s(dst, name)
}

// Int64s is File.Int64s of the file that holds the tensor.
func (m *Model) Int64s(name string) ([]int64, error) {
	f, err := m.file(name)
	if err != nil {
		return nil, err
	}
	return f.Int64s(name)
}
