package drawing

import (
	"fmt"
	"strings"
)

// colours tells states apart; the words say the same.
var colours = map[string]string{"cached": "#d9ead3", "will run": "#fff2cc", "may run": "#fce5cd", "cannot run": "#f4cccc"}

// DOT draws the graph in Graphviz' language. Where a stage reads several outputs of
// another, the edge names them.
func (g *Graph) DOT() string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var b strings.Builder
	b.WriteString("digraph {\n  rankdir=LR\n  node [shape=box style=filled fillcolor=\"#ffffff\"]\n")
	name := func(i int) string { return quote.Replace(plain(g.Nodes[i].Stage)) }
	for i, n := range g.Nodes {
		label := name(i)
		if n.State != "" {
			label += `\n` + quote.Replace(plain(n.State))
		}
		fmt.Fprintf(&b, "  \"%s\" [label=\"%s\"", name(i), label)
		if c := colours[n.State]; c != "" {
			fmt.Fprintf(&b, " fillcolor=\"%s\"", c)
		}
		if n.Why != "" {
			fmt.Fprintf(&b, " tooltip=\"%s\"", quote.Replace(plain(n.Why)))
		}
		b.WriteString("]\n")
	}
	for _, l := range g.lines() {
		fmt.Fprintf(&b, "  \"%s\" -> \"%s\"", name(l.from), name(l.to))
		if ports := l.ports(); len(ports) > 1 {
			fmt.Fprintf(&b, " [label=\"%s\"]", quote.Replace(plain(strings.Join(ports, ", "))))
		}
		b.WriteString("\n")
	}
	return b.String() + "}\n"
}

// Mermaid draws the graph in Mermaid's language, which GitHub and GitLab show.
func (g *Graph) Mermaid() string {
	quote := strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;")
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, n := range g.Nodes {
		label := quote.Replace(plain(n.Stage))
		if n.State != "" {
			label += "<br/>" + quote.Replace(plain(n.State))
		}
		fmt.Fprintf(&b, "  s%d[\"%s\"]\n", i, label)
		if c := colours[n.State]; c != "" {
			fmt.Fprintf(&b, "  style s%d fill:%s,color:#000000\n", i, c)
		}
	}
	for _, l := range g.lines() {
		fmt.Fprintf(&b, "  s%d --> s%d\n", l.from, l.to)
	}
	return b.String()
}
