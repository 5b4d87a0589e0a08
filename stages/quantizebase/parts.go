package quantizebase

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"pipe/runtime/safetensors"
	"pipe/stages"
)

// What a killed attempt may lose, at most: work of this time, or this many bytes of
// quantised weights, which wait in memory until they are saved.
const (
	saveEvery = 10 * time.Second
	saveBytes = 256 << 20
)

// parts are the linears that are quantised already. In the state they are
// safetensors files, one a commit, that are never changed.
type parts struct {
	env     *stages.Env
	files   []*safetensors.File
	names   []string // of files, in the state
	pending []safetensors.Tensor
	size    int
	saved   time.Time // or the start
}

func openParts(env *stages.Env) (*parts, error) {
	p := &parts{env: env, saved: env.Now()}
	if env.State == nil {
		return p, nil
	}
	dir, err := env.State.Load()
	if err != nil || dir == "" {
		return p, err
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil {
		return p, err
	}
	slices.Sort(paths)
	for _, path := range paths {
		f, err := safetensors.Open(path)
		if err != nil {
			p.close()
			return nil, err
		}
		p.files, p.names = append(p.files, f), append(p.names, filepath.Base(path))
	}
	env.Log.Info("going on with the quantisation that was interrupted", "tensors done", p.count())
	return p, nil
}

func (p *parts) count() (n int) {
	for _, f := range p.files {
		n += len(f.Names())
	}
	return n
}

func (p *parts) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// load returns the tensors of these names, if an earlier attempt made them, or nil.
// Their data is valid until close.
func (p *parts) load(names []string) ([]safetensors.Tensor, error) {
	for _, f := range p.files {
		if _, ok := f.Info(names[0]); !ok {
			continue
		}
		var list []safetensors.Tensor
		for _, name := range names {
			info, _ := f.Info(name)
			data, err := f.Bytes(name)
			if err != nil {
				return nil, err
			}
			list = append(list, safetensors.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: data})
		}
		return list, nil
	}
	return nil, nil
}

// add takes over what was made, and saves it if enough has come together.
func (p *parts) add(made []safetensors.Tensor) error {
	if p.env.State == nil {
		return nil
	}
	for _, t := range made {
		p.pending = append(p.pending, t)
		p.size += len(t.Data)
	}
	if p.size >= saveBytes {
		return p.save()
	}
	return nil
}

// saveIfDue saves when the time has come, and ends the stage when it is asked to end
// and something was done: an attempt that is stopped at once still gets further.
func (p *parts) saveIfDue() error {
	if p.env.State == nil || len(p.pending) == 0 {
		return nil
	}
	stopped := false
	select {
	case <-p.env.Stop:
		stopped = true
	default:
	}
	if stopped || p.env.Now().Sub(p.saved) >= saveEvery {
		if err := p.save(); err != nil {
			return err
		}
	}
	if stopped {
		return stages.ErrStopped
	}
	return nil
}

func (p *parts) save() error {
	p.saved = p.env.Now()
	name := fmt.Sprintf("part-%06d.safetensors", len(p.names)+1)
	err := p.env.State.Commit(p.names, func(dir string) error {
		return safetensors.WriteFile(filepath.Join(dir, name), p.pending, nil)
	})
	if err != nil {
		return errors.Join(errors.New("the state could not be saved"), err)
	}
	p.names, p.pending, p.size = append(p.names, name), nil, 0
	return nil
}
