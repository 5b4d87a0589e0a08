package drawing

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of the lines in a terminal.
const (
	// mostLanes fit beside the names; of more, nobody could follow one.
	mostLanes = 24
	// shortestName and shortestWhy are what is left of names and reasons before the
	// next thing is dropped.
	shortestName = 6
	shortestWhy  = 12
	// fewReads are named in a list; of the rest the number is told.
	fewReads = 3
)

// ASCII draws the graph top down, a line a stage, none longer than width cells; 0
// means that any length will do. A lane carries what a stage made down to its readers:
//
//	●     normalize
//	├─●   tokenize
//	│ │ ● quantize
//	│ ●─┤ train
//
// Where so many lanes run side by side that they cannot be told apart, each line names
// what its stage reads instead.
func (g *Graph) ASCII(width int) string {
	most := mostLanes
	if width > 0 {
		most = min(most, width/6) // a third of the width
	}
	rows, ok := g.laneRows(most)
	if !ok {
		rows = slices.Repeat([]string{"●"}, len(g.Nodes))
	}
	notes := make([]string, len(g.Nodes))
	for i, n := range g.Nodes {
		if n.State != "cached" {
			notes[i] = plain(n.Why)
		}
	}
	if !ok {
		for i, reads := range g.reads() {
			notes[i] = strings.TrimRight(reads+"  "+notes[i], " ")
		}
	}
	return g.table(rows, notes, width)
}

// table sets the columns: lanes, names, states, notes.
func (g *Graph) table(rows, notes []string, width int) string {
	lanes, names, states := 0, 0, 0
	for i, n := range g.Nodes {
		lanes, names, states = max(lanes, cells(rows[i])), max(names, cells(plain(n.Stage))), max(states, cells(plain(n.State)))
	}
	note := -1 // any length
	if width > 0 {
		names = max(min(names, width-lanes-states-4), shortestName)
		if note = width - lanes - names - states - 6; note < shortestWhy {
			note = 0
		}
	}
	var b strings.Builder
	for i, n := range g.Nodes {
		line := pad(rows[i], lanes) + "  " + pad(cut(plain(n.Stage), names), names) + "  " + pad(plain(n.State), states)
		if note != 0 {
			text := notes[i]
			if note > 0 {
				text = cut(text, note)
			}
			line += "  " + text
		}
		if width > 0 {
			line = cut(line, width)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// reads says of every node what it reads: "← a, b and 5 more".
func (g *Graph) reads() []string {
	names := make([][]string, len(g.Nodes))
	for _, l := range g.lines() {
		names[l.to] = append(names[l.to], plain(g.Nodes[l.from].Stage))
	}
	texts := make([]string, len(g.Nodes))
	for i, from := range names {
		switch {
		case len(from) > fewReads+1:
			texts[i] = fmt.Sprintf("← %s and %d more", strings.Join(from[:fewReads], ", "), len(from)-fewReads)
		case len(from) > 0:
			texts[i] = "← " + strings.Join(from, ", ")
		}
	}
	return texts
}

// free is a lane that carries nothing.
const free = -1

// laneRows draws the lanes, or says that more than most run side by side.
func (g *Graph) laneRows(most int) ([]string, bool) {
	readers, sources := make([]int, len(g.Nodes)), make([][]int, len(g.Nodes))
	for _, l := range g.lines() {
		readers[l.from]++
		sources[l.to] = append(sources[l.to], l.from)
	}
	var lanes []int // whose output a lane carries
	rows := make([]string, len(g.Nodes))
	for i := range g.Nodes {
		rows[i] = placeNode(&lanes, i, sources[i], readers)
		if len(lanes) > most {
			return nil, false
		}
	}
	return rows, true
}

// placeNode draws the row of a node and updates the lanes, and how many readers of
// each node are still to come.
func placeNode(lanes *[]int, node int, sources, readers []int) string {
	joined := map[int]bool{} // lanes that flow into the node
	closing := map[int]bool{}
	for _, from := range sources {
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
		if at = slices.Index(*lanes, free); at < 0 {
			at = len(*lanes)
			*lanes = append(*lanes, free)
		}
	}
	row := drawRow(*lanes, at, joined, closing)
	for lane := range closing {
		(*lanes)[lane] = free
	}
	(*lanes)[at] = free
	if readers[node] > 0 {
		(*lanes)[at] = node
	}
	for n := len(*lanes); n > 0 && (*lanes)[n-1] == free; n-- {
		*lanes = (*lanes)[:n-1]
	}
	return row
}

func drawRow(lanes []int, at int, joined, closing map[int]bool) string {
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

func laneGlyph(lanes []int, lane, at, first, last int, joined, closing bool) string {
	switch {
	case lane == at:
		return "●"
	case lane < first || lane > last:
		if lanes[lane] != free {
			return "│"
		}
		return " "
	case !joined && lanes[lane] == free:
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
