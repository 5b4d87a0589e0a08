// Package document reads YAML the way pipe means it: one document, plain maps,
// lists and scalars, each with its place, and numbers by our own rules.
//
// Parse guards the bytes before the YAML library sees them, because that library
// has no limits of its own (deep nesting and wide maps cost it gigabytes), and
// turns its syntax tree into a tree of Nodes. Nothing is ever decoded by the
// library. Decode fills a struct from a Node by the struct's tags; Describe lists
// the same struct's fields, for schemas, documentation and cache keys.
//
// Scalars follow the YAML 1.2 core schema, with these differences: 2e-4 is a
// float everywhere; a number with a leading zero, in base 8, 16 or 2, with
// underscores, or not finite, is no number but a string that says why; and a
// string field takes no number or boolean unless it is quoted.
package document
