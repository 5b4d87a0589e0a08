package pipeline

import (
	"strings"

	"pipe/internal/document"
	"pipe/internal/problem"
)

// parseSets turns --set stage.key=value and --set params.key=value into a map
// like the file's, to lay over it. Keys may be nested with dots.
func parseSets(sets []string, stageNodes, params *document.Node) (*document.Node, problem.List) {
	var problems problem.List
	all := &document.Node{Kind: document.Map}
	for _, text := range sets {
		path, value, ok := strings.Cut(text, "=")
		names := strings.Split(path, ".")
		if !ok || len(names) < 2 {
			problems.Add(problem.At(setOrigin(text), 0, 0, "must be stage.key=value or params.key=value"))
			continue
		}
		parsed, err := document.Parse(setOrigin(text), []byte("value: "+value))
		if err != nil {
			list, _ := err.(problem.List)
			for _, p := range list {
				problems.Add(problem.At(setOrigin(text), 0, 0, "%s", p.Message))
			}
			continue
		}
		if names[0] != "params" && stageNodes.Get(names[0]) == nil {
			problems.Add(problem.At(setOrigin(text), 0, 0, "there is no stage %q", names[0]).WithHint("%s", document.Suggest(names[0], append(keys(stageNodes), "params"))))
			continue
		}
		if names[0] == "params" && params.Get(names[1]) == nil {
			problems.Add(problem.At(setOrigin(text), 0, 0, "there is no parameter %q", "params."+names[1]).WithHint("%s", document.Suggest(names[1], keys(params))))
			continue
		}
		root := []string{"params"}
		if names[0] != "params" {
			root = []string{"stages", names[0], "with"}
		}
		node := parsed.Get("value").WithoutPlace()
		for _, name := range reverse(append(root, names[1:]...)) {
			node = node.Under(name)
		}
		all = document.Merge(all, node)
	}
	return all, problems
}

func reverse(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[len(names)-1-i] = n
	}
	return out
}
