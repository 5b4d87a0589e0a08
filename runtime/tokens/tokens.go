// Package tokens is a tokenised chat data set on disk: what tokenize-and-mask
// writes and train-qlora reads.
//
// The file tokens.safetensors holds four tensors, records in input order, not
// packed:
//
//	ids      I32 [n]           the tokens of all records, one record behind the other
//	mask     U8  [n]           1 for a token that is a target of training, else 0
//	spans    I64 [records, 2]  first token of a record, and the one behind its last
//	holdout  U8  [records]     1 for a record that is measured and not trained on
package tokens

import (
	"fmt"
	"path/filepath"

	"pipe/internal/problem"
	"pipe/runtime/safetensors"
)

// FileName is the file's name in its folder.
const FileName = "tokens.safetensors"

// Record is one conversation as tokens.
type Record struct {
	IDs     []int32
	Mask    []uint8 // as long as IDs; 1 is a target
	Holdout bool
}

// Supervised is how many tokens are targets.
func (r Record) Supervised() int {
	n := 0
	for _, m := range r.Mask {
		n += int(m)
	}
	return n
}

// Write writes the records into a folder.
func Write(dir string, records []Record) error {
	total := 0
	for _, r := range records {
		total += len(r.IDs)
	}
	ids, mask := make([]byte, 0, 4*total), make([]byte, 0, total)
	spans, holdout := make([]byte, 0, 16*len(records)), make([]byte, 0, len(records))
	at := int64(0)
	for _, r := range records {
		ids = safetensors.AppendInt32s(ids, r.IDs)
		mask = append(mask, r.Mask...)
		end := at + int64(len(r.IDs))
		spans = safetensors.AppendInt64s(spans, []int64{at, end})
		at = end
		flag := byte(0)
		if r.Holdout {
			flag = 1
		}
		holdout = append(holdout, flag)
	}
	n := int(at)
	return safetensors.WriteFile(filepath.Join(dir, FileName), []safetensors.Tensor{
		{Name: "ids", DType: safetensors.I32, Shape: []int{n}, Data: ids},
		{Name: "mask", DType: safetensors.U8, Shape: []int{n}, Data: mask},
		{Name: "spans", DType: safetensors.I64, Shape: []int{len(records), 2}, Data: spans},
		{Name: "holdout", DType: safetensors.U8, Shape: []int{len(records)}, Data: holdout},
	}, nil)
}

// Read reads the records of a folder. What is wrong with the file is a
// problem.List. The records own their memory.
func Read(dir string) ([]Record, error) {
	path := filepath.Join(dir, FileName)
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	wrong := func(name, format string, args ...any) error {
		info, _ := f.Info(name)
		return problem.List{problem.AtByte(path, info.Begin, "tensor %q: %s", name, fmt.Sprintf(format, args...))}
	}
	for _, want := range []struct {
		name  string
		dtype safetensors.DType
		dims  int
	}{{"ids", safetensors.I32, 1}, {"mask", safetensors.U8, 1}, {"spans", safetensors.I64, 2}, {"holdout", safetensors.U8, 1}} {
		info, ok := f.Info(want.name)
		if !ok || info.DType != want.dtype || len(info.Shape) != want.dims {
			return nil, wrong(want.name, "must be %s with %d dimensions", want.dtype, want.dims)
		}
	}
	ids, err := f.Int64s("ids")
	if err != nil {
		return nil, err
	}
	spans, err := f.Int64s("spans")
	if err != nil {
		return nil, err
	}
	mask, err := f.Copy("mask")
	if err != nil {
		return nil, err
	}
	holdout, err := f.Copy("holdout")
	if err != nil {
		return nil, err
	}
	if len(mask) != len(ids) {
		return nil, wrong("mask", "has %d elements, ids has %d", len(mask), len(ids))
	}
	if len(spans) != 2*len(holdout) {
		return nil, wrong("spans", "has %d records, holdout has %d", len(spans)/2, len(holdout))
	}
	records := make([]Record, len(holdout))
	for i := range records {
		begin, end := spans[2*i], spans[2*i+1]
		if begin < 0 || end < begin || end > int64(len(ids)) {
			return nil, wrong("spans", "record %d is %d to %d of %d tokens", i, begin, end, len(ids))
		}
		r := Record{IDs: make([]int32, end-begin), Mask: mask[begin:end:end], Holdout: holdout[i] != 0}
		for j := range r.IDs {
			id := ids[begin+int64(j)]
			if id < 0 || r.Mask[j] > 1 {
				return nil, wrong("ids", "record %d: token %d is %d with mask %d", i, j, id, r.Mask[j])
			}
			r.IDs[j] = int32(id)
		}
		records[i] = r
	}
	return records, nil
}
