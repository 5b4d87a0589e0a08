package mistral

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pipe/internal/problem"
	"pipe/runtime/lora"
	"pipe/runtime/nf4"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// maxProblems bounds what a folder that is quite another model gives.
const maxProblems = 20

// Load reads the model in the folder dir: config.json and safetensors, in one file
// or several, F32, BF16 or F16, the linears also as bitsandbytes NF4. It takes
// one tensor at a time through the host's memory.
//
// What is wrong with the folder is a problem.List: every tensor that is missing,
// has another shape than the config asks for, or belongs to no Mistral.
func Load(b ops.Backend, dir string) (*Model, error) {
	c, files, err := Open(dir)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	l := &loader{files: files, backend: b, model: &Model{Config: c, backend: b, arena: arena{backend: b}}}
	if err := l.load(); err != nil {
		l.model.Free()
		return nil, err
	}
	return l.model, nil
}

// loader reads the tensors of one folder.
type loader struct {
	files   *safetensors.Model
	backend ops.Backend
	model   *Model
	values  []float32 // reused from tensor to tensor

	problems problem.List
}

func (l *loader) problem(format string, args ...any) {
	l.problems.Add(problem.At(l.files.Path(), 0, 0, format, args...))
}

// err returns the problems found so far, in order and no more than a screen of
// them.
func (l *loader) err() error {
	slices.SortFunc(l.problems, func(a, b problem.Problem) int { return strings.Compare(a.Message, b.Message) })
	if more := len(l.problems) - maxProblems; more > 0 {
		l.problems = l.problems[:maxProblems]
		l.problem("… and %d more", more)
	}
	return l.problems.Err()
}

// check compares the tensors that are there with those that the config asks for.
func (l *loader) check() error {
	known := map[string]bool{}
	for name, want := range l.model.Config.tensors() {
		known[name] = true
		if nf4.IsQuantized(l.files, name) {
			continue // readNF4 checks it
		}
		info, ok := l.files.Info(name)
		switch {
		case !ok:
			l.problem("tensor %s is missing", name)
		case !slices.Equal(info.Shape, want):
			l.problem("tensor %s: shape %v, config.json asks for %v", name, info.Shape, want)
		case info.DType != safetensors.F32 && info.DType != safetensors.BF16 && info.DType != safetensors.F16:
			l.problem("tensor %s is %s, needed are F32, BF16, F16 or NF4", name, info.DType)
		}
	}
	for _, name := range l.files.Names() {
		if !known[name] && !l.isSpare(name, known) {
			l.problem("tensor %.100s belongs to no Mistral of this config", name)
		}
	}
	if err := l.checkTiedHead(); err != nil {
		return err
	}
	return l.err()
}

// checkTiedHead refuses a head beside tied embeddings that is not the same: other
// readers take it, in spite of the config.
func (l *loader) checkTiedHead() error {
	head, there := l.files.Info(headName)
	embed, ok := l.files.Info(embedName)
	if !l.model.Config.Tied || !there || !ok {
		return nil
	}
	same := head.DType == embed.DType && slices.Equal(head.Shape, embed.Shape)
	if same {
		a, err1 := l.files.Bytes(headName)
		b, err2 := l.files.Bytes(embedName)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		same = bytes.Equal(a, b)
	}
	if !same {
		l.problem("tensor %s differs from %s, and config.json says that they are tied; set tie_word_embeddings to false, or take the tensor out", headName, embedName)
	}
	return nil
}

// tensors gives the shape of every tensor of the model by its name.
func (c Config) tensors() map[string][]int {
	shapes := map[string][]int{embedName: {c.Vocabulary, c.Width}, normName: {c.Width}}
	if !c.Tied {
		shapes[headName] = []int{c.Vocabulary, c.Width}
	}
	base := c.Base()
	for layer := range c.Layers {
		shapes[fmt.Sprintf(attentionNormName, layer)] = []int{c.Width}
		shapes[fmt.Sprintf(feedForwardNormName, layer)] = []int{c.Width}
		for linear, s := range base.Shapes {
			shapes[linearName(layer, lora.Linear(linear))] = []int{s.Out, s.In}
		}
	}
	return shapes
}

// isSpare says whether a tensor may be there without being used: the parts of an
// NF4 weight, a head beside tied embeddings, the rotary frequencies that old
// checkpoints hold.
func (l *loader) isSpare(name string, known map[string]bool) bool {
	return l.isPartOfNF4(name, known) || name == headName || strings.HasSuffix(name, ".self_attn.rotary_emb.inv_freq")
}

func (l *loader) load() error {
	m, c := l.model, l.model.Config
	var err error
	dense := func(name string, n int) ops.Buf {
		buf := m.arena.floats(n)
		if err == nil && m.arena.err == nil {
			err = l.dense(buf, name)
		}
		return buf
	}
	m.embed, m.norm = dense(embedName, c.Vocabulary*c.Width), dense(normName, c.Width)
	m.head = ops.Weight{Out: c.Vocabulary, In: c.Width, Dense: m.embed}
	if !c.Tied {
		m.head.Dense = dense(headName, c.Vocabulary*c.Width)
	}
	base := c.Base()
	m.layers = make([]layer, c.Layers)
	for i := range m.layers {
		m.layers[i].attentionNorm = dense(fmt.Sprintf(attentionNormName, i), c.Width)
		m.layers[i].feedForwardNorm = dense(fmt.Sprintf(feedForwardNormName, i), c.Width)
		for linear, s := range base.Shapes {
			w := ops.Weight{Out: s.Out, In: s.In}
			name := linearName(i, lora.Linear(linear))
			switch {
			case err != nil || m.arena.err != nil:
			case nf4.IsQuantized(l.files, name):
				err = l.readNF4(&w, name)
			default:
				w.Dense = dense(name, s.Out*s.In)
			}
			m.layers[i].linears[linear] = w
		}
	}
	switch {
	case err != nil:
		return err
	case len(l.problems) > 0:
		return l.err()
	case m.arena.err != nil:
		return fmt.Errorf("weights of %s: %w", l.files.Path(), m.arena.err)
	}
	return l.backend.Sync()
}

// dense uploads a tensor as float32.
func (l *loader) dense(dst ops.Buf, name string) error {
	values := l.host(dst.Len())
	if err := l.files.ReadFloat32s(values, name); err != nil {
		return err
	}
	if i := safetensors.NotFinite(values); i >= 0 {
		l.problem("tensor %s: value %d is %g", name, i, values[i])
	}
	l.backend.Upload(dst, values)
	return nil
}

// host returns n float32 of the host's memory, overwritten by the next call.
func (l *loader) host(n int) []float32 {
	if cap(l.values) < n {
		l.values = make([]float32, n)
	}
	return l.values[:n]
}
