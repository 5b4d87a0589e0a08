// Package data holds the example data set and suite, for pipe init.
package data

import _ "embed"

// Behaviors is custom_behaviors.jsonl: chat records that teach both habits.
//
//go:embed custom_behaviors.jsonl
var Behaviors []byte

// Suite is sanity.yaml: questions to ask every checkpoint.
//
//go:embed sanity.yaml
var Suite []byte
