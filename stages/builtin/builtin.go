// Package builtin is the one list of stage kinds.
package builtin

import (
	"pipe/stages"
	"pipe/stages/command"
)

// Kinds returns the kinds that pipe knows.
func Kinds() *stages.Registry {
	return stages.NewRegistry(
		command.Kind,
	)
}
