package runner

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// usersWords are what users call private paths: the source as it was given, or the stage
// and port.
type usersWords map[string]string

// in puts the users' words in the place of the paths, longer ones first: in/data2 before
// in/data.
func (w usersWords) in(text string) string {
	paths := slices.SortedFunc(maps.Keys(w), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	for _, path := range paths {
		text = strings.ReplaceAll(text, path, w[path])
	}
	return text
}
