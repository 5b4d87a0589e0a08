package faultfs

import (
	"io"
	"io/fs"
	"os"
)

// File is an open file or folder.
type File struct{ *os.File }

func Open(name string) (*File, error) { return OpenFile(name, os.O_RDONLY, 0) }

func OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	h := current.Load()
	if h == nil {
		return wrap(os.OpenFile(name, flag, perm))
	}
	kind := OpenOp
	if flag&os.O_CREATE != 0 {
		kind = CreateOp
	}
	return get(h, &Op{Kind: kind, Path: name}, func() (*File, error) { return wrap(os.OpenFile(name, flag, perm)) })
}

func wrap(f *os.File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

func (f *File) Read(b []byte) (int, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: ReadOp, Path: f.Name()}, func() (int, error) { return f.File.Read(b) })
	}
	return f.File.Read(b)
}

func (f *File) ReadAt(b []byte, at int64) (int, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: ReadOp, Path: f.Name()}, func() (int, error) { return f.File.ReadAt(b, at) })
	}
	return f.File.ReadAt(b, at)
}

func (f *File) Write(b []byte) (int, error) {
	if h := current.Load(); h != nil {
		return f.writeHooked(h, b, f.File.Write)
	}
	return f.File.Write(b)
}

func (f *File) WriteAt(b []byte, at int64) (int, error) {
	if h := current.Load(); h != nil {
		return f.writeHooked(h, b, func(b []byte) (int, error) { return f.File.WriteAt(b, at) })
	}
	return f.File.WriteAt(b, at)
}

func (f *File) writeHooked(h *Hook, b []byte, write func(b []byte) (int, error)) (int, error) {
	op := &Op{Kind: WriteOp, Path: f.Name(), Data: b}
	n, err := get(h, op, func() (int, error) { return write(op.Data) })
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// ReadFrom lets the kernel copy from another file.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if current.Load() != nil {
		return io.Copy(struct{ io.Writer }{f}, r)
	}
	if from, ok := r.(*File); ok {
		r = from.File
	}
	return f.File.ReadFrom(r)
}

// WriteTo is what io.Copy looks for first; it leaves the copy to ReadFrom.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	if to, ok := w.(*File); ok {
		return to.ReadFrom(f)
	}
	return io.Copy(w, struct{ io.Reader }{f})
}

func (f *File) Sync() error { return f.do(SyncOp, f.File.Sync) }

func (f *File) Close() error { return f.do(CloseOp, f.File.Close) }

func (f *File) Truncate(size int64) error {
	return f.do(TruncateOp, func() error { return f.File.Truncate(size) })
}

func (f *File) Chmod(mode fs.FileMode) error {
	return f.do(ChmodOp, func() error { return f.File.Chmod(mode) })
}

func (f *File) Stat() (fs.FileInfo, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: StatOp, Path: f.Name()}, f.File.Stat)
	}
	return f.File.Stat()
}

func (f *File) do(kind Kind, act func() error) error { return Do(kind, f.Name(), "", act) }
