package faultfs

import (
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
)

// Kind is what an operation does.
type Kind string

// The operations. A folder is synced, read and closed as a file is.
const (
	OpenOp     Kind = "open"   // an existing file or folder
	CreateOp   Kind = "create" // a file that may not be there
	ReadOp     Kind = "read"
	WriteOp    Kind = "write"
	SyncOp     Kind = "sync"
	CloseOp    Kind = "close"
	TruncateOp Kind = "truncate"
	ChmodOp    Kind = "chmod"
	StatOp     Kind = "stat"
	ReadDirOp  Kind = "readdir"
	ReadlinkOp Kind = "readlink"
	MkdirOp    Kind = "mkdir"
	RemoveOp   Kind = "remove"
	RenameOp   Kind = "rename"
	ExchangeOp Kind = "exchange" // of two names, in one step
	LinkOp     Kind = "link"
	SymlinkOp  Kind = "symlink"
)

// Op is an operation that is about to be done.
type Op struct {
	Kind Kind
	Path string
	To   string // of rename, exchange and link the second path; of symlink, what the link at To says is Path
	Data []byte // of write: what is written. A hook may shorten it
}

// Error is the error that package os would return if the system answered an operation
// with errno.
func (op *Op) Error(errno syscall.Errno) error {
	if op.To != "" {
		return &os.LinkError{Op: string(op.Kind), Old: op.Path, New: op.To, Err: errno}
	}
	return &fs.PathError{Op: string(op.Kind), Path: op.Path, Err: errno}
}

// Hook is called for every operation and decides what becomes of it: act does it.
// What it returns is what the caller of the operation gets.
type Hook func(op *Op, act func() error) error

var current atomic.Pointer[Hook]

// Set has hook called for every operation of this process, and returns the function
// that takes it away. It is for tests; there is one hook at a time.
func Set(hook Hook) (remove func()) {
	if !current.CompareAndSwap(nil, &hook) {
		panic("internal error: faultfs: there is a hook already")
	}
	return func() { current.Store(nil) }
}

// Do does an operation for which package os has no function.
func Do(kind Kind, path, to string, act func() error) error {
	if h := current.Load(); h != nil {
		return (*h)(&Op{Kind: kind, Path: path, To: to}, act)
	}
	return act()
}

// get is Do for an operation with a result; a refused one has none.
func get[T any](h *Hook, op *Op, act func() (T, error)) (T, error) {
	var result T
	err := (*h)(op, func() (err error) {
		result, err = act()
		return err
	})
	return result, err
}
