package explain

import (
	"fmt"
	"slices"

	"pipe/internal/stagename"
	"pipe/pipeline/runner"
)

// membersOf lists the stages of a snapshot that a selector gathers, or nil if it
// gathers none: train[*], train[level=1,seed=*].
func membersOf(s *snapshot, selector string) []string {
	sel, err := stagename.Parse(selector)
	if s == nil || err != nil || sel.Whole {
		return nil
	}
	if !sel.All && !slices.ContainsFunc(sel.Values, stagename.Choice.Any) {
		return nil
	}
	var names []string
	for _, name := range sortedKeys(s.stages) {
		if sel.Matches(name) {
			names = append(names, name)
		}
	}
	return names
}

// members are those of both snapshots.
func (c *comparison) members(selector string) []string {
	all := append(membersOf(c.old, selector), membersOf(c.new, selector)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// gatheredCause is the cause that among the stages that a port gathers one made other
// bytes, came or went.
func (c *comparison) gatheredCause(port, selector, output string, members []string) Cause {
	cause := Cause{What: Upstream, Port: port, Stage: selector, Text: fmt.Sprintf("of %s not all made the same bytes as before at %s", selector, output)}
	for _, name := range members {
		old, new := c.old.stages[name], c.new.stages[name]
		switch {
		case old == nil:
			cause.Causes = append(cause.Causes, Cause{What: Ports, Port: port, Stage: name, Text: name + " is new"})
		case new == nil:
			cause.Causes = append(cause.Causes, Cause{What: Ports, Port: port, Stage: name, Text: name + " is gone"})
		default:
			before, had := old.outputs[output]
			now, has := new.outputs[output]
			if had && has && before.Digest == now.Digest {
				continue
			}
			use := runner.InputUse{From: name + "." + output}
			if has {
				use.Content = &now
			}
			cause.Causes = append(cause.Causes, c.upstreamCause(port, use))
		}
	}
	return cause
}
