package pipeline

import (
	"time"

	"pipe/internal/document"
)

// Retries say how often a stage that fails is tried again.
type Retries struct {
	Max     int           // attempts after the first
	Backoff time.Duration // the pause before the second attempt; it doubles with each
}

type retriesNode struct {
	Max     int           `yaml:"max" required:"true" min:"0" max:"100" help:"attempts after the first"`
	Backoff time.Duration `yaml:"backoff" default:"5s" help:"the pause before the second attempt"`
}

// retries reads retries: and timeout:. retries: N is short for retries: { max: N }.
func (r *resolver) retries(s *Step, node *stageNode) {
	r.timeout(s, node.Timeout)
	n := node.Retries
	if n == nil || n.Kind == document.Null {
		return
	}
	n = r.scope.node(n, false)
	if n.Kind != document.Map {
		short := *n
		short.Kind, short.Entries = document.Map, []document.Entry{{Key: "max", Pos: n.Pos, Value: n}}
		n = &short
	}
	whole := *n
	whole.Entries = []document.Entry{{Key: "retries", Pos: n.Pos, Value: n}}
	whole.Kind = document.Map
	var into struct {
		Retries retriesNode `yaml:"retries" help:"retries"`
	}
	r.addFor(s, document.Decode(&whole, &into, "key", n))
	s.Retries = Retries(into.Retries)
}

func (r *resolver) timeout(s *Step, n *document.Node) {
	if n == nil || n.Kind == document.Null {
		return
	}
	n = r.scope.node(n, false)
	var into struct {
		Timeout time.Duration `yaml:"timeout" help:"how long an attempt may take"`
	}
	problems := document.Decode(&document.Node{Kind: document.Map, Pos: n.Pos, Entries: []document.Entry{{Key: "timeout", Pos: n.Pos, Value: n}}}, &into, "key", n)
	r.addFor(s, problems)
	s.Timeout = into.Timeout
	if len(problems) == 0 && s.Timeout == 0 {
		r.problems.Add(n.Problem("stage %q: timeout: must be above 0", s.Name).WithHint("without the key there is none"))
	}
}
