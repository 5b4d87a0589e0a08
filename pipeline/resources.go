package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pipe/internal/document"
)

// Resources are what a stage takes while it runs. They are never part of a key.
type Resources struct {
	CPU    int   // processors
	GPU    int   // devices
	Memory int64 // bytes

	// Named are what the file alone knows of, such as licences: each is one of its
	// Totals.
	Named map[string]int
}

// Totals are what there is of resources for the stages of a run together, where the
// file declares it; the rest is the machine's.
type Totals struct {
	CPU, GPU *int
	Memory   *int64
	Named    map[string]int
}

// Over returns what there is to share out on a machine.
func (t Totals) Over(machine Resources) Resources {
	if t.CPU != nil {
		machine.CPU = *t.CPU
	}
	if t.GPU != nil {
		machine.GPU = *t.GPU
	}
	if t.Memory != nil {
		machine.Memory = *t.Memory
	}
	machine.Named = t.Named
	return machine
}

type resourcesNode struct {
	CPU    int            `yaml:"cpu" default:"1" min:"1" help:"processors"`
	GPU    int            `yaml:"gpu" default:"0" min:"0" help:"GPUs"`
	Memory *document.Node `yaml:"memory" help:"bytes, as in 4GiB"`
}

type totalsNode struct {
	CPU    *int           `yaml:"cpu" min:"1" help:"processors"`
	GPU    *int           `yaml:"gpu" min:"0" help:"GPUs"`
	Memory *document.Node `yaml:"memory" help:"bytes, as in 64GiB"`
}

// machineResources are those that every machine has some of.
var machineResources = []string{"cpu", "gpu", "memory"}

var resourceName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// totals reads resources: of the file.
func (r *resolver) totals(n *document.Node) Totals {
	var t Totals
	if n == nil || n.Kind == document.Null {
		return t
	}
	n = r.scope.node(n, false)
	if n.Kind != document.Map {
		r.problems.Add(n.Problem("resources: must be a map from a resource to how much of it there is, got %s", n.Describe()).WithHint("as in: resources: { gpu: 2, licence: 1 }"))
		return t
	}
	known, named := splitResources(n)
	var into struct {
		Resources totalsNode `yaml:"resources" help:"what there is"`
	}
	r.problems = append(r.problems, document.Decode(known, &into, "key", known)...)
	node := into.Resources
	if node.CPU != nil && *node.CPU > 0 { // else what is wrong with it was said, as with gpu
		t.CPU = node.CPU
	}
	if node.GPU != nil && *node.GPU >= 0 {
		t.GPU = node.GPU
	}
	if size, ok := r.size("resources: memory", node.Memory); ok {
		t.Memory = &size
	}
	for _, e := range named {
		switch {
		case !resourceName.MatchString(e.Key):
			r.problems.Add(n.KeyProblem(e, "resources: the name %q must be made of lower-case letters, digits, dashes and underscores", e.Key))
		case e.Value.Kind != document.Int || e.Value.Int < 0:
			r.problems.Add(e.Value.Problem("resources: %s: must be a whole number from 0, got %s", e.Key, e.Value.Describe()))
		default:
			if t.Named == nil {
				t.Named = map[string]int{}
			}
			t.Named[e.Key] = int(e.Value.Int)
		}
	}
	return t
}

// splitResources parts what every machine has, as resources: of a map, from what the
// file alone knows of.
func splitResources(n *document.Node) (known *document.Node, named []document.Entry) {
	c := *n
	c.Entries = nil
	for _, e := range n.Entries {
		if slices.Contains(machineResources, e.Key) {
			c.Entries = append(c.Entries, e)
		} else {
			named = append(named, e)
		}
	}
	return &document.Node{Kind: document.Map, Pos: n.Pos, Entries: []document.Entry{{Key: "resources", Pos: n.Pos, Value: &c}}}, named
}

// size reads a number of bytes, if there is one.
func (r *resolver) size(what string, n *document.Node) (int64, bool) {
	if n == nil || n.Kind == document.Null {
		return 0, false
	}
	size, ok := parseSize(n.Text)
	if !ok {
		r.problems.Add(n.Problem("%s: must be a size, got %s", what, n.Describe()).WithHint("write it with a unit: 512MiB, 4GiB"))
	}
	return size, ok
}

// resources reads resources: of a stage, and holds it to the totals that the file
// declares. What the machine lacks is the runner's to tell.
func (r *resolver) resources(s *Step, n *document.Node) {
	s.Resources = Resources{CPU: 1}
	if n == nil || n.Kind == document.Null {
		return
	}
	n = r.scope.node(n, false)
	if n.Kind != document.Map {
		r.problems.Add(n.Problem("stage %q: resources: must be a map, got %s", s.Name, n.Describe()))
		return
	}
	known, named := splitResources(n)
	var into struct {
		Resources resourcesNode `yaml:"resources" help:"what the stage takes"`
	}
	r.addFor(s, document.Decode(known, &into, "key", known))
	node := into.Resources
	s.Resources.CPU, s.Resources.GPU = node.CPU, node.GPU
	s.Resources.Memory, _ = r.size(fmt.Sprintf("stage %q: resources.memory", s.Name), node.Memory)
	for _, e := range named {
		total, declared := r.plan.Totals.Named[e.Key]
		switch {
		case !declared:
			if r.file.resources.Get(e.Key) == nil { // else what is wrong with it was said
				r.problems.Add(n.KeyProblem(e, "stage %q: resources: there is no resource %q", s.Name, e.Key).WithHint("%s", suggestResource(e.Key, r.plan.Totals)))
			}
		case e.Value.Kind != document.Int || e.Value.Int < 0:
			r.problems.Add(e.Value.Problem("stage %q: resources.%s: must be a whole number from 0, got %s", s.Name, e.Key, e.Value.Describe()))
		case e.Value.Int > int64(total):
			r.tooMuch(s, e.Value, e.Key, e.Value.Text, fmt.Sprint(total))
		case e.Value.Int > 0:
			if s.Resources.Named == nil {
				s.Resources.Named = map[string]int{}
			}
			s.Resources.Named[e.Key] = int(e.Value.Int)
		}
	}
	t := r.plan.Totals
	if t.CPU != nil && node.CPU > *t.CPU {
		r.tooMuch(s, n.Find("cpu"), "cpu", fmt.Sprint(node.CPU), fmt.Sprint(*t.CPU))
	}
	if t.GPU != nil && node.GPU > *t.GPU {
		r.tooMuch(s, n.Find("gpu"), "gpu", fmt.Sprint(node.GPU), fmt.Sprint(*t.GPU))
	}
	if t.Memory != nil && s.Resources.Memory > *t.Memory {
		r.tooMuch(s, node.Memory, "memory", node.Memory.Text, r.file.resources.Find("memory").Text)
	}
}

func (r *resolver) tooMuch(s *Step, at *document.Node, name, asked, total string) {
	r.problems.Add(at.Problem("stage %q: resources.%s: asks for %s, and the file declares %s in all", s.Name, name, asked, total).
		WithHint("the totals stand under resources: at the top of the file"))
}

func suggestResource(name string, t Totals) string {
	names := slices.Clone(machineResources)
	for n := range t.Named {
		names = append(names, n)
	}
	slices.Sort(names)
	if near := document.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("there are %s; others are declared at the top of the file, as in: resources: { %s: 2 }", strings.Join(names, ", "), name)
}
