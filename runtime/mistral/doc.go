// Package mistral is the Mistral transformer (Jiang et al. 2023) as QLoRA needs
// it: frozen weights, dense or NF4, read from a Hugging Face folder; a forward
// and a backward pass with low-rank adapters; greedy decoding with a cache.
//
// # Words
//
// B is the number of samples or sequences in a batch and T the length of one.
// Samples are packed one behind the other, so a batch is a matrix of rows, ΣT of
// them. C is the model's width (hidden_size), H the number of query heads, K of
// key/value heads, D the width of a head, F the width of the feed-forward layer
// (intermediate_size), V the vocabulary, L the number of layers, r an adapter's
// rank. Everything is float32, row-major.
//
// The residual stream is the (rows, C) matrix that every block adds to:
//
//	x += Output·attention(Query·n, Key·n, Value·n)   n = RMSNorm(x)
//	x += Down·(silu(Gate·n) ∘ Up·n)                  n = RMSNorm(x)
//
// A row is supervised if the token that follows it is a target of the loss. Only
// supervised rows go through the final norm and the output layer, the head.
//
// # Which type for what
//
// Model holds the weights. Pass runs whole batches forward and backward and keeps
// what the backward pass needs. Decoder generates: it keeps only keys and values.
//
// All arithmetic is done by an ops.Backend; this package never sees an element.
//
// Source of names and formulas: transformers 5.23, models/mistral.
package mistral
