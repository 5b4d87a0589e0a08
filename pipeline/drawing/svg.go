package drawing

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"

	"pipe/internal/layered"
)

//go:embed page/svg.css
var svgStyle string

// Text is set in a font of fixed width, which is the same everywhere but for a few
// hundredths: of the fonts that page/svg.css names, DejaVu Sans Mono and Menlo advance by
// 0.602 of their size, Liberation Mono by 0.600, Consolas by 0.550. Boxes are made for
// one that is a little wider.
const (
	advance    = 0.62 // of the font's size, a cell
	titleFont  = 15
	nameFont   = 12
	detailFont = 10.5
	labelFont  = 9.5
)

// Measures of the drawing, in pixels.
const (
	margin       = 20
	padding      = 10 // within a box
	markSize     = 12
	narrowestBox = 140
	narrowestWhy = 200 // of a box with a reason
	widestBox    = 290
	headHeight   = 60 // title and legend
	widestLabel  = 120
)

// states are what a node may be, in the order of the legend, with their marks in a
// square of markSize: they tell states apart where colours do not.
var states = []struct{ name, mark string }{
	{"cached", "M2 6.5 4.8 9.5 10.2 2.8"},
	{"will run", "M3 1.5 10 6 3 10.5Z"},
	{"may run", "M3 1.5 10 6 3 10.5Z"},
	{"cannot run", "M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5"},
	{"", "M6 2.5a3.5 3.5 0 1 0 .01 0Z"},
}

// SVG draws the graph as a picture for light and dark surroundings. It needs nothing
// from anywhere. What does not fit into a box is in its tooltip.
func (g *Graph) SVG() string {
	p := newPicture(g)
	var b strings.Builder
	size := layered.Size{Width: max(p.layout.Size.Width, p.headWidth()) + 2*margin, Height: p.layout.Size.Height + headHeight + margin}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" width="%[1]s" height="%[2]s" viewBox="0 0 %[1]s %[2]s">`+"\n",
		number(math.Ceil(size.Width)), number(math.Ceil(size.Height)))
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escape(g.heading()), svgStyle)
	b.WriteString(`<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="arrow" d="M0 .5 8 4 0 7.5Z"/></marker></defs>` + "\n")
	b.WriteString(`<rect class="bg" width="100%" height="100%"/>` + "\n")
	p.head(&b)
	fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", margin, headHeight)
	p.edges(&b)
	p.boxes(&b)
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

func (g *Graph) heading() string { return fmt.Sprintf("%s (%s)", g.Pipeline, g.Profile) }

// picture is a graph that is being drawn.
type picture struct {
	*Graph
	lines  []line
	labels []string // of each line; most have none
	box    layered.Size
	layout layered.Layout
}

func newPicture(g *Graph) *picture {
	p := &picture{Graph: g, lines: g.lines()}
	p.labels = p.labelLines()
	p.box = layered.Size{Width: narrowestBox, Height: 44}
	for _, n := range g.Nodes {
		p.box.Width = max(p.box.Width, 2*padding+markSize+6+textWidth(n.Stage, nameFont), 2*padding+textWidth(n.detail(), detailFont))
		if n.Why != "" {
			p.box.Height, p.box.Width = 60, max(p.box.Width, narrowestWhy)
		}
	}
	p.box.Width = math.Ceil(min(p.box.Width, widestBox))
	var label layered.Size
	for _, text := range p.labels {
		if text != "" {
			label = layered.Size{Width: max(label.Width, textWidth(text, labelFont)), Height: labelFont + 2}
		}
	}
	edges := make([]layered.Edge, len(p.lines))
	for i, l := range p.lines {
		edges[i] = layered.Edge{From: l.from, To: l.to}
	}
	p.layout = layered.Lay(len(g.Nodes), edges, p.box, label)
	return p
}

// labelLines names the outputs that go along a line where that says more than the
// boxes do: where a stage's readers do not all read the same of it.
func (p *picture) labelLines() []string {
	read := map[int]string{}
	differ := map[int]bool{}
	for _, l := range p.lines {
		ports := strings.Join(l.ports(), ", ")
		if before, ok := read[l.from]; ok && before != ports {
			differ[l.from] = true
		}
		read[l.from] = ports
	}
	labels := make([]string, len(p.lines))
	for i, l := range p.lines {
		if differ[l.from] {
			labels[i] = fit(strings.Join(l.ports(), ", "), labelFont, widestLabel)
		}
	}
	return labels
}

// head writes title and legend.
func (p *picture) head(b *strings.Builder) {
	fmt.Fprintf(b, `<text class="title" x="%d" y="26">%s</text>`+"\n", margin, escape(p.heading()))
	x := float64(margin)
	for _, item := range p.legend() {
		fmt.Fprintf(b, `<g class="%s" transform="translate(%s 36)"><path class="mark" d="%s"/><text class="legend" x="17" y="10">%s</text></g>`+"\n",
			class(item.state), number(x), mark(item.state), escape(item.text))
		x += item.width
	}
}

func (p *picture) headWidth() float64 {
	width := 0.0
	for _, item := range p.legend() {
		width += item.width
	}
	return max(width, textWidth(p.heading(), titleFont))
}

type legendItem struct {
	state, text string
	width       float64
}

// legend counts the stages by state.
func (p *picture) legend() []legendItem {
	counts := map[string]int{}
	for _, n := range p.Nodes {
		counts[n.State]++
	}
	var items []legendItem
	for _, s := range states {
		if counts[s.name] == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", counts[s.name], s.name)
		if s.name == "" {
			text = "1 stage"
			if counts[""] != 1 {
				text = fmt.Sprintf("%d stages", counts[""])
			}
		}
		items = append(items, legendItem{state: s.name, text: text, width: 17 + 16 + textWidth(text, nameFont)})
	}
	return items
}

func (p *picture) boxes(b *strings.Builder) {
	for i, n := range p.Nodes {
		at, inside := p.layout.Boxes[i], p.box.Width-2*padding
		fmt.Fprintf(b, `<g class="node %s" data-n="%d" transform="translate(%s %s)"><title>%s</title>`, class(n.State), i, number(at.X), number(at.Y), escape(n.tooltip()))
		fmt.Fprintf(b, `<rect class="box" width="%s" height="%s" rx="6"/>`, number(p.box.Width), number(p.box.Height))
		fmt.Fprintf(b, `<path class="mark" transform="translate(%d 9)" d="%s"/>`, padding, mark(n.State))
		fmt.Fprintf(b, `<text class="name" x="%d" y="19">%s</text>`, padding+markSize+6, escape(fit(n.Stage, nameFont, inside-markSize-6)))
		fmt.Fprintf(b, `<text class="detail" x="%d" y="35">%s</text>`, padding, escape(fit(n.detail(), detailFont, inside)))
		if n.Why != "" {
			fmt.Fprintf(b, `<text class="why" x="%d" y="50">%s</text>`, padding, escape(fit(n.Why, detailFont, inside)))
		}
		b.WriteString("</g>\n")
	}
}

func (p *picture) edges(b *strings.Builder) {
	placed := p.placeLabels()
	for i, l := range p.lines {
		var said []string
		for _, e := range l.edges {
			said = append(said, fmt.Sprintf("%s.%s → %s.%s", e.From, e.FromPort, e.To, e.ToPort))
		}
		fmt.Fprintf(b, `<path class="edge" data-from="%d" data-to="%d" marker-end="url(#arrow)" d="%s"><title>%s</title></path>`+"\n",
			l.from, l.to, p.way(p.layout.Routes[i]), escape(strings.Join(said, "\n")))
	}
	for i, at := range placed {
		if at != nil {
			fmt.Fprintf(b, `<text class="label" data-from="%d" data-to="%d" x="%s" y="%s">%s</text>`+"\n",
				p.lines[i].from, p.lines[i].to, number(at.X), number(at.Y+labelFont/3), escape(p.labels[i]))
		}
	}
}

// way is a route as path data: curves in the gaps, straight lines along the tracks.
func (p *picture) way(route layered.Route) string {
	var b strings.Builder
	fmt.Fprintf(&b, "M%s %s", number(route[0].X), number(route[0].Y))
	for k := 1; k < len(route); k++ {
		from, to := route[k-1], route[k]
		if k%2 == 0 || from.X == to.X || from.Y == to.Y {
			if k+1 == len(route) || (from.X != to.X || to.X != route[k+1].X) && (from.Y != to.Y || to.Y != route[k+1].Y) {
				fmt.Fprintf(&b, "L%s %s", number(to.X), number(to.Y))
			}
			continue
		}
		c1, c2 := p.controls(from, to)
		fmt.Fprintf(&b, "C%s %s %s %s %s %s", number(c1.X), number(c1.Y), number(c2.X), number(c2.Y), number(to.X), number(to.Y))
	}
	return b.String()
}

// controls are the inner points of the curve across a gap.
func (p *picture) controls(from, to layered.Point) (a, b layered.Point) {
	if p.layout.Down {
		middle := (from.Y + to.Y) / 2
		return layered.Point{X: from.X, Y: middle}, layered.Point{X: to.X, Y: middle}
	}
	middle := (from.X + to.X) / 2
	return layered.Point{X: middle, Y: from.Y}, layered.Point{X: middle, Y: to.Y}
}

func textWidth(s string, font float64) float64 { return float64(cells(plain(s))) * font * advance }

// fit cuts a text to so many pixels.
func fit(s string, font, width float64) string { return cut(plain(s), int(width/(font*advance))) }

// number writes a coordinate, to a tenth of a pixel.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// escape writes a text for XML and HTML.
func escape(s string) string {
	var b strings.Builder
	for i, l := range strings.Split(s, "\n") {
		if i > 0 {
			b.WriteString("&#10;")
		}
		_ = xml.EscapeText(&b, []byte(plain(l))) // a Builder does not fail
	}
	return b.String()
}

func class(state string) string {
	if mark(state) == mark("") {
		return "unknown"
	}
	return strings.ReplaceAll(state, " ", "-")
}

func mark(state string) string {
	for _, s := range states {
		if s.name == state {
			return s.mark
		}
	}
	return states[len(states)-1].mark
}
