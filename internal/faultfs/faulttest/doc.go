// Package faulttest makes file systems fail, and holds pipe to what it promises when
// they do: nothing wrong is ever served, what was acknowledged is there, and the next
// run needs no help.
//
// # Words
//
// A Fault is an error of the system, or the end of the process, at the n-th operation
// of a run. A Journal notes down the operations of a run that goes well, and builds
// from them the states that a power cut could leave behind. The toy is a pipeline of
// six small stages, run by the real runner in a folder of its own. A case is one toy
// run with one thing wrong; it is named by a line such as
//
//	errno scene=edit op=131 errno=ENOSPC sticky
//
// with which it can be run again: go test ./internal/faultfs/faulttest -run TestFaults -faults='…'
//
// The quick part, a sample of the cases, belongs to go test. The campaign (make
// campaign) runs them all and writes docs/reliability.md.
package faulttest
