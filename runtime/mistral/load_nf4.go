package mistral

import (
	"errors"
	"runtime"

	"pipe/internal/problem"
	"pipe/runtime/nf4"
	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// readNF4 uploads a weight in bitsandbytes' NF4, in four bits where ops.Weight has
// a form for it: blocks of 64 or a multiple, values rounded to float32 or bfloat16.
// Else (blocks of 32, float16) it is uploaded dequantised. What is wrong with the
// weight joins the loader's problems.
func (l *loader) readNF4(w *ops.Weight, name string) error {
	stored, err := nf4.Read(l.files, name)
	var wrong problem.List
	switch {
	case errors.As(err, &wrong):
		l.problems = append(l.problems, wrong...)
		return nil
	case err != nil:
		return err
	case stored.Out != w.Out || stored.In != w.In:
		l.problem("tensor %s: shape [%d %d], config.json asks for [%d %d]", name, stored.Out, stored.In, w.Out, w.In)
		return nil
	}
	arena := &l.model.arena
	runs, err := stored.Runs()
	if err != nil {
		values := l.host(stored.Count())
		stored.Dequantize(values, runtime.GOMAXPROCS(0))
		if w.Dense = arena.floats(len(values)); arena.err == nil {
			l.backend.Upload(w.Dense, values)
		}
		return nil
	}
	w.Codes, w.Absmax = arena.alloc(ops.Uint8, len(stored.Codes)), arena.floats(len(runs))
	w.BFloat16 = stored.DType == safetensors.BF16
	if arena.err == nil {
		l.backend.Upload(w.Codes, stored.Codes)
		l.backend.Upload(w.Absmax, runs)
	}
	return nil
}

// isPartOfNF4 says whether a tensor belongs to a quantised weight among known.
func (l *loader) isPartOfNF4(name string, known map[string]bool) bool {
	for at := range name {
		if name[at] == '.' && known[name[:at]] {
			return nf4.IsQuantized(l.files, name[:at])
		}
	}
	return false
}
