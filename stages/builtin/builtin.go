// Package builtin is the one list of stage kinds.
package builtin

import (
	"pipe/stages"
	"pipe/stages/command"
	"pipe/stages/normalizecompliments"
	"pipe/stages/quantizebase"
	"pipe/stages/sanitysweep"
	"pipe/stages/selectbest"
	"pipe/stages/tokenizeandmask"
	"pipe/stages/trainqlora"
)

// Kinds returns the kinds that pipe knows.
func Kinds() *stages.Registry {
	return stages.NewRegistry(
		normalizecompliments.Kind,
		tokenizeandmask.Kind,
		quantizebase.Kind,
		trainqlora.Kind,
		sanitysweep.Kind,
		selectbest.Kind,
		command.Kind,
	)
}
