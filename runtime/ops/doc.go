// Package ops is the seam between the model code and the hardware: buffers
// that a backend owns, and the fused operations that a Mistral forward pass, a
// LoRA backward pass and greedy generation are made of.
//
// # Words
//
// A Buf is an opaque run of elements in a backend's memory. Code above this
// package never sees an element; it uploads, calls operations and downloads.
//
// rows is the number of token positions in a batch: samples are packed one
// behind the other, without padding, so that rows is the sum of their lengths.
// C is the model width, H the number of query heads, K the number of key/value
// heads, D the width of one head, F the width of the feed-forward layer, V the
// vocabulary. A matrix (rows, C) is row-major and dense.
//
// # Laws
//
// Reference, in plain Go, is the specification. Every other backend agrees with
// it within the tolerance that package opstest states, and keeps two laws bit
// for bit:
//
//  1. A result does not depend on the number of workers.
//  2. Row i of a result does not depend on how many other rows there are, nor
//     on what is in them. (Sums over rows, such as the gradients of A and B, are
//     no rows and are exempt.)
//
// So an answer does not depend on what else is in its batch.
//
// # Errors
//
// A wrong length or type is a bug of the caller and panics with "internal
// error". What the hardware refuses (no memory, a lost device) comes from Alloc
// or, for work that was queued, from Sync.
package ops

// Version names the numerics of the operations. It is part of the key of every
// stage kind that computes with them, and is raised when equal inputs give
// other bits on any tier.
const Version = "1"
