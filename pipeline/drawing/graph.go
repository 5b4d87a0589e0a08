// Package drawing draws pipelines: as lines for a terminal, in the languages of
// Graphviz and Mermaid, as an SVG, as a page that can be searched and walked through,
// and as JSON for other programs.
//
// All of them draw a Graph. Of makes one of a plan; the caller adds what it knows of
// states, times and results. Texts may hold anything: every format escapes them.
package drawing

import (
	"encoding/json"
	"slices"
	"time"

	"pipe/pipeline"
)

// Graph is a pipeline with the states of its stages. Its JSON is described in
// docs/events.md.
type Graph struct {
	Pipeline string    `json:"pipeline"`
	Profile  string    `json:"profile"`
	File     string    `json:"file"`
	Time     time.Time `json:"time,omitzero"` // of the states
	Nodes    []Node    `json:"nodes"`         // each behind those that it reads from
	Edges    []Edge    `json:"edges"`
}

// Node is a stage.
type Node struct {
	Stage   string            `json:"stage"`
	Matrix  map[string]string `json:"matrix,omitempty"` // its combination: variable to value, numbers in one form
	Kind    string            `json:"kind"`
	State   string            `json:"state,omitempty"` // "cached", "will run", "may run", "cannot run"; empty where nobody looked
	Why     string            `json:"why,omitempty"`
	Key     string            `json:"key,omitempty"` // where it is known
	Made    *Made             `json:"made,omitempty"`
	Last    *Last             `json:"last,omitempty"`
	Sources []Source          `json:"sources,omitempty"`
	Outputs []Output          `json:"outputs,omitempty"`
	Publish []Publish         `json:"publish,omitempty"`
}

// Made tells of a stage's result: the one that it would have now or, of a stage that
// is not up to date, its newest.
type Made struct {
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"` // that the computation took
	Key     string    `json:"key"`
}

// Last tells how the stage ended in the newest run that had it.
type Last struct {
	Run     string    `json:"run"`
	Time    time.Time `json:"time"`
	Outcome string    `json:"outcome"`
	Why     string    `json:"why,omitempty"`
}

// Source is an input that no stage makes.
type Source struct {
	Port   string `json:"port"`
	Source string `json:"source"`
}

// Output is an output port and, where the result is known, what lies there.
type Output struct {
	Port   string `json:"port"`
	Kind   string `json:"kind,omitempty"` // "file", "tree"
	Digest string `json:"digest,omitempty"`
	Size   int64  `json:"size,omitempty"` // bytes
}

// Publish is a place that an output is put at, with what the newest run that knew of
// it decided.
type Publish struct {
	Port     string `json:"port"`
	To       string `json:"to"`
	Decision string `json:"decision,omitempty"`
	Digest   string `json:"digest,omitempty"`
}

// Edge leads from an output to the input that reads it.
type Edge struct {
	From     string `json:"from"`
	FromPort string `json:"from_port"`
	To       string `json:"to"`
	ToPort   string `json:"to_port"`
}

// Of returns the graph of a plan, without states.
func Of(p *pipeline.Plan) *Graph {
	g := &Graph{Pipeline: p.Name, Profile: p.Profile, File: p.File, Nodes: []Node{}, Edges: []Edge{}}
	for _, s := range p.Steps {
		n := Node{Stage: s.Name, Kind: s.Kind.Name}
		if c := s.Matrix; c != nil {
			n.Matrix = make(map[string]string, len(c.Names))
			for i, name := range c.Names {
				n.Matrix[name] = c.Values[i].Canonical()
			}
		}
		for _, in := range s.Inputs {
			if in.IsSource() {
				n.Sources = append(n.Sources, Source{Port: in.Port.Name, Source: in.Source})
			}
			for from := range in.Makers() {
				g.Edges = append(g.Edges, Edge{From: from.Name, FromPort: in.FromPort, To: s.Name, ToPort: in.Port.Name})
			}
		}
		for _, o := range s.Outputs {
			n.Outputs = append(n.Outputs, Output{Port: o.Name})
		}
		for _, place := range s.Publish {
			n.Publish = append(n.Publish, Publish{Port: place.Port, To: place.To})
		}
		g.Nodes = append(g.Nodes, n)
	}
	return g
}

// JSON returns the graph as one line.
func (g *Graph) JSON() []byte {
	b, err := json.Marshal(g)
	if err != nil {
		panic("internal error: graph: " + err.Error())
	}
	return append(b, '\n')
}

// line is a drawn edge: all that one stage reads of another.
type line struct {
	from, to int // nodes
	edges    []Edge
}

// lines lists the drawn edges, in the order of their readers.
func (g *Graph) lines() []line {
	number := make(map[string]int, len(g.Nodes))
	for i, n := range g.Nodes {
		number[n.Stage] = i
	}
	var lines []line
	known := map[[2]int]int{}
	for _, e := range g.Edges {
		pair := [2]int{number[e.From], number[e.To]}
		if _, ok := known[pair]; !ok {
			known[pair] = len(lines)
			lines = append(lines, line{from: pair[0], to: pair[1]})
		}
		l := &lines[known[pair]]
		l.edges = append(l.edges, e)
	}
	return lines
}

// ports lists the outputs that go along a line, each once.
func (l line) ports() []string {
	var ports []string
	for _, e := range l.edges {
		if !slices.Contains(ports, e.FromPort) {
			ports = append(ports, e.FromPort)
		}
	}
	return ports
}

// took is a length of time for people: 14s, 190ms, 1h2m0s.
func took(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
