// Package faultfs is the seam between pipe and the file system: what writes or reads
// the store and published places goes through it. The functions and methods are those
// of package os by the same names.
//
// In production no hook is set, and each function is its namesake of package os behind
// one look at a nil pointer. A test sets a hook, which sees every operation before it
// is done and may refuse it, cut it short, note it down or kill the process:
// internal/faultfs/faulttest does. With a hook, compound operations (MkdirAll,
// RemoveAll, WriteFile) are taken apart, so that faults come between their steps.
package faultfs
