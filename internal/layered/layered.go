package layered

import (
	"math"
)

// Edge leads from a node to one of a higher number.
type Edge struct{ From, To int }

// Size is in the units of the drawing, pixels say.
type Size struct{ Width, Height float64 }

// Point is a place in the drawing; Y grows downwards.
type Point struct{ X, Y float64 }

// Route is an edge's way, of an even number of points. From an even one to the next
// it crosses a gap, and from there to the next even one it follows a track, straight.
type Route []Point

// Layout is where everything is, with nothing at negative coordinates.
type Layout struct {
	Size   Size
	Boxes  []Point // top left corner of each node's box
	Routes []Route // of each edge
	Down   bool    // ranks follow one another downwards, else to the right
}

// Distances in a drawing.
const (
	boxGap   = 18 // between two boxes of a rank
	trackGap = 10 // between a track and what is beside it
	rankGap  = 40 // between two ranks, at least
	// Edges that lead far across get a wider gap, so that they are no flat bundle.
	gapSlope  = 0.12
	widestGap = 150
)

// Lay lays out n boxes of one size, downwards or to the right, whichever has the
// shorter longest side. An edge's label of the given size fits into a gap. Edges must
// lead to a higher number, or Lay panics.
func Lay(n int, edges []Edge, box, label Size) Layout {
	for _, e := range edges {
		if e.From >= e.To {
			panic("internal error: an edge that does not lead forwards")
		}
	}
	down, right := lay(n, edges, box, label, true), lay(n, edges, box, label, false)
	if max(down.Size.Width, down.Size.Height) <= max(right.Size.Width, right.Size.Height) {
		return down
	}
	return right
}

func lay(n int, edges []Edge, box, label Size, down bool) Layout {
	along, across, gap := box.Width, box.Height, max(rankGap, label.Width+16)
	if down {
		along, across, gap = box.Height, box.Width, max(rankGap, label.Height+16)
	}
	d := &drawing{along: along, across: across, gap: gap}
	d.build(n, edges)
	d.order()
	d.place()
	return d.layout(edges, box, down)
}

// drawing is a layout that is being made.
type drawing struct {
	along, across, gap float64

	nodes  []*vertex
	chains [][]*vertex // of each edge: from, tracks, to
	ranks  [][]*vertex // in order
}

// vertex is a box or a track.
type vertex struct {
	rank          int
	at            int // in its rank
	track         bool
	position      float64 // of its middle, across
	before, after []*vertex
}

// build ranks the nodes and gives long edges their tracks.
func (d *drawing) build(n int, edges []Edge) {
	ranks := rankNodes(n, edges)
	// A rank is too wide when the drawing would be far wider than it is long.
	widest := max(math.Sqrt(float64(n)*(d.along+d.gap)/(d.across+boxGap)), 1000/(d.across+boxGap), 4)
	fold(ranks, edges, int(widest))
	count := 0
	for i := range n {
		v := &vertex{rank: ranks[i]}
		d.nodes = append(d.nodes, v)
		count = max(count, v.rank+1)
	}
	d.ranks = make([][]*vertex, count)
	for _, v := range d.nodes {
		d.ranks[v.rank] = append(d.ranks[v.rank], v)
	}
	d.route(edges)
}

// trackKey names a track: the node whose edges share it, and the rank.
type trackKey struct {
	node     int
	incoming bool
	rank     int
}

func (d *drawing) route(edges []Edge) {
	out, in := make([]int, len(d.nodes)), make([]int, len(d.nodes))
	for _, e := range edges {
		out[e.From]++
		in[e.To]++
	}
	tracks := map[trackKey]*vertex{}
	linked := map[[2]*vertex]bool{}
	for _, e := range edges {
		key := trackKey{node: e.From}
		if in[e.To] > out[e.From] {
			key = trackKey{node: e.To, incoming: true}
		}
		from, to := d.nodes[e.From], d.nodes[e.To]
		chain := []*vertex{from}
		for key.rank = from.rank + 1; key.rank < to.rank; key.rank++ {
			if tracks[key] == nil {
				tracks[key] = &vertex{rank: key.rank, track: true}
				d.ranks[key.rank] = append(d.ranks[key.rank], tracks[key])
			}
			chain = append(chain, tracks[key])
		}
		chain = append(chain, to)
		d.chains = append(d.chains, chain)
		for i, v := range chain[1:] {
			u := chain[i]
			if pair := [2]*vertex{u, v}; !linked[pair] {
				linked[pair] = true
				u.after, v.before = append(u.after, v), append(v.before, u)
			}
		}
	}
}
