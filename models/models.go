// Package models holds the models that the binary carries.
package models

import (
	"embed"
	"io/fs"
)

//go:embed tiny-mistral/README.md tiny-mistral/config.json tiny-mistral/model.safetensors tiny-mistral/tokenizer.model
var files embed.FS

// Builtin returns the models by the name that follows "builtin:" in a reference.
func Builtin() map[string]fs.FS {
	tiny, err := fs.Sub(files, "tiny-mistral")
	if err != nil {
		panic("internal error: models: " + err.Error())
	}
	return map[string]fs.FS{"tiny-mistral": tiny}
}
