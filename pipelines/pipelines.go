// Package pipelines holds the pipeline files that come with pipe, for pipe init.
// (The Go code that reads them is package pipeline, without an s.)
package pipelines

import _ "embed"

// MistralBehaviors is mistral-behaviors.yaml.
//
//go:embed mistral-behaviors.yaml
var MistralBehaviors []byte
