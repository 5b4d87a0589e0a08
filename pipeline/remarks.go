package pipeline

import "pipe/internal/problem"

// unusedParams finds parameters of the file that nothing refers to, in any profile.
// What a profile or --set gives to one is then of no effect.
func (f *File) unusedParams(used map[string]bool) problem.List {
	var list problem.List
	if f.params == nil {
		return nil
	}
	for _, e := range f.params.Entries {
		if !used[e.Key] {
			list.Add(f.params.KeyProblem(e, "params: nothing refers to ${params.%s}", e.Key).WithHint("take it away, or put the reference where it is meant to be"))
		}
	}
	return list
}
