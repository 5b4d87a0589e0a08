package safetensors

import (
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"pipe/internal/problem"
)

// File is an open safetensors file. Its data is mapped into memory where the
// system can do so, else read. It may be used by several goroutines at a time.
type File struct {
	path     string
	file     *os.File // kept open to see that the file has not shrunk
	data     []byte   // the whole file
	header   header
	byName   map[string]int
	names    []string // sorted
	isClosed atomic.Bool
}

// Open opens and checks the file at path. What is wrong with it is a
// problem.List with byte offsets; a file that cannot be read is an *os.PathError.
func Open(path string) (*File, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	data, err := mapFile(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: map %d bytes: %w", path, info.Size(), err)
	}
	opened := &File{path: path, file: f, data: data}
	var h header
	faulted := opened.guard(func() { h, err = readHeader(path, data, int64(len(data))) })
	if faulted != nil {
		err = faulted
	}
	if err != nil {
		opened.Close()
		return nil, err
	}
	opened.setHeader(h)
	return opened, nil
}

// openRegular refuses what would block or cannot be mapped: pipes, devices,
// folders.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, problem.List{{File: path, Message: "not an ordinary file"}}
	}
	return os.Open(path)
}

func (f *File) setHeader(h header) {
	f.header = h
	f.byName = make(map[string]int, len(h.tensors))
	for i, t := range h.tensors {
		f.byName[t.Name] = i
	}
	f.names = slices.Sorted(maps.Keys(f.byName))
}

// Close releases the mapping. Slices that Bytes returned must not be used any
// more. Closing twice does nothing.
func (f *File) Close() error {
	if f.isClosed.Swap(true) {
		return nil
	}
	err := unmap(f.data)
	f.data = nil
	if f.file != nil {
		if closeErr := f.file.Close(); err == nil {
			err = closeErr
		}
	}
	return err
}

// Path returns the path that the file was opened by.
func (f *File) Path() string { return f.path }

// Metadata returns the texts that the header holds beside the tensors, nil if it
// has none. It must not be changed.
func (f *File) Metadata() map[string]string { return f.header.metadata }

// Names returns the names of all tensors, sorted. It must not be changed.
func (f *File) Names() []string { return f.names }

// Tensors describes all tensors, in the order of their data.
func (f *File) Tensors() []Info { return slices.Clone(f.header.tensors) }

// Info describes a tensor; false if there is none of that name.
func (f *File) Info(name string) (Info, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Info{}, false
	}
	return f.header.tensors[i], true
}

// Bytes returns the bytes of a tensor: a view into the file, valid until Close,
// not to be written to, aligned to nothing.
//
// It fails if the file has become shorter since it was opened. If somebody cuts
// the file off afterwards, reading the view faults and ends the program, as with
// any mapped file; Float32s, Int64s and Copy turn that fault into an error.
func (f *File) Bytes(name string) ([]byte, error) {
	t, ok := f.Info(name)
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", f.path, name)
	}
	if f.isClosed.Load() {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.path, name, os.ErrClosed)
	}
	if err := f.checkLength(); err != nil {
		return nil, err
	}
	return f.data[t.Begin:t.End:t.End], nil
}

// checkLength sees that the file is as long as its mapping.
func (f *File) checkLength() error {
	if f.file == nil {
		return nil
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if have, want := info.Size(), int64(len(f.data)); have < want {
		return problem.List{problem.AtByte(f.path, have, "the file was cut short while it was open: %d bytes are missing", want-have)}
	}
	return nil
}

// Copy returns a copy of a tensor's bytes.
func (f *File) Copy(name string) ([]byte, error) {
	view, err := f.Bytes(name)
	if err != nil {
		return nil, err
	}
	data := make([]byte, len(view))
	if err := f.guard(func() { copy(data, view) }); err != nil {
		return nil, err
	}
	return data, nil
}

// Float32s returns the elements of an F32, BF16 or F16 tensor, row-major. The
// conversion is exact.
func (f *File) Float32s(name string) ([]float32, error) {
	t, ok := f.Info(name)
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", f.path, name)
	}
	dst := make([]float32, t.Count())
	if err := f.ReadFloat32s(dst, name); err != nil {
		return nil, err
	}
	return dst, nil
}

// ReadFloat32s fills dst with the elements of an F32, BF16 or F16 tensor, of
// which there must be len(dst).
func (f *File) ReadFloat32s(dst []float32, name string) error {
	data, err := f.Bytes(name)
	if err != nil {
		return err
	}
	t, _ := f.Info(name)
	if t.Count() != len(dst) {
		return fmt.Errorf("%s: tensor %q: %v has %d elements, not %d", f.path, name, t.Shape, t.Count(), len(dst))
	}
	var known bool
	if err := f.guard(func() { known = toFloat32s(dst, t.DType, data) }); err != nil {
		return err
	}
	if !known {
		return f.wrongType(t, "F32, BF16 or F16")
	}
	return nil
}

// Int64s returns the elements of a tensor of whole numbers or BOOL, row-major.
// U64 is refused.
func (f *File) Int64s(name string) ([]int64, error) {
	data, err := f.Bytes(name)
	if err != nil {
		return nil, err
	}
	t, _ := f.Info(name)
	dst := make([]int64, t.Count())
	var known bool
	if err := f.guard(func() { known = toInt64s(dst, t.DType, data) }); err != nil {
		return nil, err
	}
	if !known {
		return nil, f.wrongType(t, "whole numbers")
	}
	return dst, nil
}

func (f *File) wrongType(t Info, want string) error {
	return problem.List{problem.AtByte(f.path, t.at, "tensor %.100q is %s, needed are %s", t.Name, t.DType, want)}
}

// guard runs read, which reads the mapping. A fault, because the file was cut
// off, becomes an error.
func (f *File) guard(read func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		caught := recover()
		if caught == nil {
			return
		}
		// The runtime's fault errors, and only they, have an address.
		if _, ok := caught.(interface{ Addr() uintptr }); !ok {
			panic(caught)
		}
		if err = f.checkLength(); err == nil {
			err = fmt.Errorf("%s: reading the mapped file failed: input/output error", f.path)
		}
	}()
	read()
	return nil
}
