package pipeline

import (
	"pipe/internal/document"
	"pipe/internal/problem"
)

// Hooks are the programs to tell of a run's end: argument lists, run in the folder
// of the file. They are never part of a key.
type Hooks struct {
	OnFailure []string `yaml:"on_failure" help:"the program to tell of a run that failed, and its arguments"`
	OnSuccess []string `yaml:"on_success" help:"the program to tell of a run that went well, and its arguments"`
}

// HookAt is the place in the file of the hook of that name.
func (p *Plan) HookAt(name string) *document.Node { return p.hookAt[name] }

// checkHook finds what is wrong with a hook whatever its references stand for.
func checkHook(e document.Entry) problem.List {
	switch {
	case e.Value.Kind != document.List:
		return problem.List{e.Value.Problem("%s: must be a list of a program and its arguments, got %s", e.Key, e.Value.Describe()).
			WithHint("as in: %s: [./tell.sh, me@example.com]; no shell is involved", e.Key)}
	case len(e.Value.Items) == 0:
		return problem.List{e.Value.Problem("%s: names no program", e.Key).WithHint("leave it out, if nobody is to be told")}
	}
	return nil
}

// resolveHooks replaces references in the hooks, decodes them and says where they are.
func (r *resolver) resolveHooks() (h Hooks, at map[string]*document.Node) {
	nodes := &document.Node{Kind: document.Map}
	at = map[string]*document.Node{}
	for _, e := range r.file.hooks {
		if e.Value.Kind == document.List {
			e.Value = r.scope.node(e.Value, false)
			nodes.Entries = append(nodes.Entries, e)
			at[e.Key] = e.Value
		}
	}
	r.problems = append(r.problems, document.Decode(nodes, &h, "key", nodes)...)
	return h, at
}
