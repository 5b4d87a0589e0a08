//go:build unix

package faulttest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"

	"pipe/internal/faultfs"
)

// Errnos are the errors of a system that runs out of something or breaks.
var Errnos = map[string]syscall.Errno{
	"ENOSPC": syscall.ENOSPC, "EIO": syscall.EIO, "EMFILE": syscall.EMFILE,
	"EDQUOT": syscall.EDQUOT, "EACCES": syscall.EACCES, "EROFS": syscall.EROFS,
}

// Fault is what goes wrong in a run.
type Fault struct {
	Op     int           // at which operation, counted from 1
	Errno  syscall.Errno // what it fails with; 0 kills the process
	Sticky bool          // all after it fail, too, if the error could hit them
	Half   bool          // if it is a write, half of the bytes are written first
}

// Injector makes a fault happen. Set its Hook in faultfs.
type Injector struct {
	Fault Fault

	count atomic.Int64
	hit   atomic.Pointer[faultfs.Op]
}

// Hook is a faultfs.Hook.
func (i *Injector) Hook(op *faultfs.Op, act func() error) error {
	n := int(i.count.Add(1))
	switch f := i.Fault; {
	case n == f.Op:
		i.hit.Store(op)
	case n < f.Op || f.Op == 0 || !f.Sticky || !couldHit(f.Errno, op.Kind):
		return act()
	}
	switch {
	case op.Kind == faultfs.CloseOp: // whatever it returns, the file is closed
		_ = act()
	case i.Fault.Half && op.Kind == faultfs.WriteOp:
		op.Data = op.Data[:len(op.Data)/2]
		_ = act()
	}
	if i.Fault.Errno == 0 {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
		select {}
	}
	return op.Error(i.Fault.Errno)
}

// Hit says which operation was hit; ok is false if the run had fewer.
func (i *Injector) Hit() (what string, ok bool) {
	op := i.hit.Load()
	if op == nil {
		return "", false
	}
	what = fmt.Sprintf("%s %s", op.Kind, op.Path)
	if op.To != "" {
		what += " " + op.To
	}
	return what, true
}

// couldHit says whether an error that stays hits operations of a kind: a full disk can
// still be read, and files removed from it.
func couldHit(errno syscall.Errno, kind faultfs.Kind) bool {
	space := []faultfs.Kind{faultfs.CreateOp, faultfs.WriteOp, faultfs.SyncOp, faultfs.MkdirOp, faultfs.RenameOp, faultfs.LinkOp, faultfs.SymlinkOp}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return slices.Contains(space, kind)
	case syscall.EROFS:
		return slices.Contains(append(space, faultfs.RemoveOp, faultfs.ChmodOp, faultfs.TruncateOp, faultfs.ExchangeOp), kind)
	case syscall.EMFILE:
		return slices.Contains([]faultfs.Kind{faultfs.OpenOp, faultfs.CreateOp, faultfs.ReadDirOp}, kind)
	case syscall.EACCES:
		return slices.Contains([]faultfs.Kind{faultfs.OpenOp, faultfs.CreateOp, faultfs.ReadDirOp, faultfs.MkdirOp, faultfs.RemoveOp, faultfs.RenameOp, faultfs.ExchangeOp, faultfs.LinkOp, faultfs.SymlinkOp}, kind)
	}
	return true
}
