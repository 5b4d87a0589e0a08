package pipeline

import (
	"pipe/internal/document"
	"pipe/stages"
)

// Format writes a pipeline file in its one form (docs/pipeline-format.md, "Formatting").
// It means the same and holds every comment. The error is a problem.List: a file with
// mistakes is not formatted.
func Format(kinds *stages.Registry, path string, text []byte) ([]byte, error) {
	f, err := Parse(path, text)
	if err != nil {
		return nil, err
	}
	if _, err := f.Resolve(kinds, Options{}); err != nil {
		return nil, err
	}
	return document.Format(path, text, keyOrder)
}

// stageKeys are a stage's, in the order in which they are read best: what it is, what
// goes through it, what it sees besides, how it is run.
var stageKeys = []string{"uses", "matrix", "in", "out", "with", "publish", "env", "secrets", "tools", "resources", "timeout", "retries"}

// keyOrder says which keys come first in the map at a path. Names that the file gives,
// and parameters, stay in the order in which they stand.
func keyOrder(path []string) []string {
	if len(path) == 0 {
		return topKeys
	}
	if path[0] == "profiles" {
		if len(path) == 2 {
			return topKeys
		}
		path = path[min(len(path), 2):]
	}
	switch {
	case len(path) == 1 && path[0] == "resources":
		return machineResources
	case len(path) == 0 || path[0] != "stages" || len(path) == 1:
		return nil
	case len(path) == 2:
		return stageKeys
	case len(path) == 3 && path[2] == "resources":
		return machineResources
	case len(path) == 3 && path[2] == "retries":
		return []string{"max", "backoff"}
	case len(path) == 4 && path[2] == "publish":
		return []string{"to", "unless_worse"}
	}
	return nil
}
