// Package cache is the content-addressed store of pipe.
//
// # Words
//
// A Digest is a SHA-256. A blob is a file's bytes, named by their Digest; a tree
// is a folder, as a sorted manifest that is itself a blob. An Object is either.
// A Key is the Digest of everything that decides what a stage makes; a Record
// maps it to the Objects that were made. The record is written last: it is the
// commit, and what no record names is garbage.
//
// # Promises
//
// A file under its final name is complete and synced. A crash, a full disk or a
// kill at any point leaves garbage at most, never a wrong object. Damage is
// found before an object is used, and a damaged object counts as absent.
//
// The bytes are described in docs/cache-format.md.
package cache
