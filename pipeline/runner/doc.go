// Package runner executes a plan.
//
// # Words
//
// A step is ready when the steps it reads from are done. Its key is computed only
// then, from the content of what they made, so that an upstream re-run that makes
// equal bytes stops there. A hit is a record in the store for the key; a miss is
// run in an attempt, a private folder, and committed: outputs, log, record, in this
// order. Publishing puts an output at a path of the workspace; it is the only act
// with an effect outside the store. Promotion is the decision whether a folder, the
// candidate, may take the place of what is published; the ledger at the place keeps
// what was decided.
//
// The runner knows nothing of any stage kind. One goroutine, Run's, owns the state
// of a run; each step runs in one of its own and reports back when it is done.
package runner
