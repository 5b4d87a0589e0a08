package pipeline

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/dominikbraun/graph"
	"github.com/dominikbraun/graph/draw"
)

// Mark is what a drawing says of a step: a state ("cached", "will run") and, where
// there is room, a note.
type Mark struct{ State, Note string }

// colours tells states apart; the words say the same.
var colours = map[string]string{"cached": "#d9ead3", "will run": "#fff2cc", "may run": "#fce5cd", "cannot run": "#f4cccc"}

// DrawDOT draws the plan in Graphviz' language.
func (p *Plan) DrawDOT(marks map[string]Mark) (string, error) {
	g := graph.New(func(s *Step) string { return s.Name }, graph.Directed())
	for _, s := range p.Steps {
		label := s.Name
		if m := marks[s.Name]; m.State != "" {
			label += `\n` + m.State
		}
		err := g.AddVertex(s, graph.VertexAttribute("label", label), graph.VertexAttribute("shape", "box"),
			graph.VertexAttribute("style", "filled"), graph.VertexAttribute("fillcolor", orWhite(colours[marks[s.Name].State])))
		if err != nil {
			return "", err
		}
	}
	for _, s := range p.Steps {
		for _, in := range s.Inputs {
			for from := range in.Makers() {
				_ = g.AddEdge(from.Name, s.Name) // a second edge between two steps is the same edge
			}
		}
	}
	var b bytes.Buffer
	if err := draw.DOT(g, &b, draw.GraphAttribute("rankdir", "LR")); err != nil {
		return "", err
	}
	// The library ranges over maps: its lines come in any order.
	lines := strings.Split(b.String(), "\n")
	slices.Sort(lines[2:max(len(lines)-2, 2)])
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" }), "\n") + "\n", nil
}

func orWhite(colour string) string {
	if colour == "" {
		return "#ffffff"
	}
	return colour
}

// DrawMermaid draws the plan in Mermaid's language, which GitHub and GitLab show.
func (p *Plan) DrawMermaid(marks map[string]Mark) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	id := map[*Step]string{}
	for i, s := range p.Steps {
		id[s] = fmt.Sprintf("s%d", i)
		label := s.Name
		m := marks[s.Name]
		if m.State != "" {
			label += "<br/>" + m.State
		}
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", id[s], label)
		if c := colours[m.State]; c != "" {
			fmt.Fprintf(&b, "  style %s fill:%s\n", id[s], c)
		}
	}
	for _, s := range p.Steps {
		for _, from := range sources(s) {
			fmt.Fprintf(&b, "  %s --> %s\n", id[from], id[s])
		}
	}
	return b.String()
}

// DrawASCII draws the plan top down, a line a step. A lane carries what a step made
// down to its readers:
//
//	●     normalize
//	├─●   tokenize
//	│ │ ● quantize
//	│ ●─┤ train
func (p *Plan) DrawASCII(marks map[string]Mark) string {
	readers := map[*Step]int{}
	for _, s := range p.Steps {
		for _, from := range sources(s) {
			readers[from]++
		}
	}
	var lanes []*Step // whose output a lane carries; nil is free
	rows := make([]string, len(p.Steps))
	widest, longest := 0, 0
	for i, s := range p.Steps {
		rows[i] = placeStep(&lanes, s, readers)
		widest = max(widest, len([]rune(rows[i])))
		longest = max(longest, len(s.Name))
	}
	var b strings.Builder
	for i, s := range p.Steps {
		m := marks[s.Name]
		pad := strings.Repeat(" ", widest-len([]rune(rows[i])))
		line := fmt.Sprintf("%s%s  %-*s  %-10s  %s", rows[i], pad, longest, s.Name, m.State, m.Note)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// sources lists the steps that s reads from, each once.
func sources(s *Step) []*Step {
	var from []*Step
	seen := map[*Step]bool{}
	for _, in := range s.Inputs {
		for maker := range in.Makers() {
			if !seen[maker] {
				seen[maker] = true
				from = append(from, maker)
			}
		}
	}
	return from
}

// placeStep draws the row of a step and updates the lanes.
func placeStep(lanes *[]*Step, s *Step, readers map[*Step]int) string {
	joined := map[int]bool{} // lanes that flow into s
	closing := map[int]bool{}
	for _, from := range sources(s) {
		lane := slices.Index(*lanes, from)
		joined[lane] = true
		if readers[from]--; readers[from] == 0 {
			closing[lane] = true
		}
	}
	at := -1
	for lane := range *lanes {
		if at < 0 && closing[lane] {
			at = lane // straight below its first source that nobody else reads
		}
	}
	if at < 0 {
		if at = slices.Index(*lanes, nil); at < 0 {
			at = len(*lanes)
			*lanes = append(*lanes, nil)
		}
	}
	row := drawRow(*lanes, at, joined, closing)
	for lane := range closing {
		(*lanes)[lane] = nil
	}
	(*lanes)[at] = nil
	if readers[s] > 0 {
		(*lanes)[at] = s
	}
	for n := len(*lanes); n > 0 && (*lanes)[n-1] == nil; n-- {
		*lanes = (*lanes)[:n-1]
	}
	return row
}

func drawRow(lanes []*Step, at int, joined, closing map[int]bool) string {
	first, last := at, at
	for lane := range joined {
		first, last = min(first, lane), max(last, lane)
	}
	var b strings.Builder
	for lane := range lanes {
		within := lane >= first && lane <= last
		b.WriteString(laneGlyph(lanes, lane, at, first, last, joined[lane], closing[lane]))
		if lane+1 < len(lanes) {
			if within && lane < last {
				b.WriteString("─")
			} else {
				b.WriteString(" ")
			}
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func laneGlyph(lanes []*Step, lane, at, first, last int, joined, closing bool) string {
	switch {
	case lane == at:
		return "●"
	case lane < first || lane > last:
		if lanes[lane] != nil {
			return "│"
		}
		return " "
	case !joined && lanes[lane] == nil:
		return "─"
	case !joined:
		return "│"
	case lane == first && closing:
		return "╰"
	case lane == first:
		return "├"
	case lane == last && closing:
		return "╯"
	case lane == last:
		return "┤"
	case closing:
		return "┴"
	}
	return "┼"
}
