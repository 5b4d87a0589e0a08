package layered

import "slices"

// settlings is how often positions are drawn to those of their neighbours; they move
// by less than a pixel after about ten.
const settlings = 16

// How strongly a vertex is drawn to its neighbours: a track most, to others of its
// edge, so that long edges are straight; and to the middle of the drawing, a little,
// so that wide ranks do not lean.
const (
	trackPull  = 6.0
	boxPull    = 1.0
	middlePull = 0.2
)

// place gives every vertex its position across: near its neighbours, in the order of
// its rank, with room between. The middle of the drawing is at 0.
func (d *drawing) place() {
	for _, rank := range d.ranks {
		width := 0.0
		for i, v := range rank {
			if i > 0 {
				width += d.apart(rank[i-1], v)
			}
			v.position = width
		}
		for _, v := range rank {
			v.position -= width / 2
		}
	}
	for range settlings / 2 {
		for _, rank := range d.ranks {
			d.settle(rank)
		}
		for _, rank := range slices.Backward(d.ranks) {
			d.settle(rank)
		}
	}
}

// apart is the least distance between the middles of two neighbours in a rank.
func (d *drawing) apart(u, v *vertex) float64 {
	gap, half := float64(boxGap), 0.0
	for _, w := range []*vertex{u, v} {
		if w.track {
			gap = trackGap
		} else {
			half += d.across / 2
		}
	}
	return half + gap
}

// settle moves a rank to where its neighbours want it, by least squares under the
// order and the distances. Taken from a running sum of the distances, that is an
// isotonic regression, which pooling what stands in one another's way solves.
func (d *drawing) settle(rank []*vertex) {
	type pool struct {
		sum, weight float64
		first       int
	}
	var pools []pool
	offsets := make([]float64, len(rank))
	for i, v := range rank {
		if i > 0 {
			offsets[i] = offsets[i-1] + d.apart(rank[i-1], v)
		}
		want, weight := v.wish()
		p := pool{sum: (want - offsets[i]) * weight, weight: weight, first: i}
		for len(pools) > 0 && pools[len(pools)-1].sum*p.weight >= p.sum*pools[len(pools)-1].weight {
			last := pools[len(pools)-1]
			p = pool{sum: last.sum + p.sum, weight: last.weight + p.weight, first: last.first}
			pools = pools[:len(pools)-1]
		}
		pools = append(pools, p)
	}
	end := len(rank)
	for k := len(pools) - 1; k >= 0; k-- {
		for i := pools[k].first; i < end; i++ {
			rank[i].position = pools[k].sum/pools[k].weight + offsets[i]
		}
		end = pools[k].first
	}
}

// wish is the mean position of a vertex' neighbours, and how much it matters. An edge
// that is one of many at either end pulls but little: else all readers of a trunk
// would have it in their middle, and it would be no straight line.
func (v *vertex) wish() (want, weight float64) {
	sum := 0.0
	add := func(u *vertex, edges int) {
		pull := boxPull / float64(edges)
		if u.track && v.track {
			pull = trackPull
		}
		sum, weight = sum+pull*u.position, weight+pull
	}
	for _, u := range v.before {
		add(u, max(len(u.after), len(v.before)))
	}
	for _, u := range v.after {
		add(u, max(len(u.before), len(v.after)))
	}
	weight += middlePull
	return sum / weight, weight
}

// layout turns positions into coordinates.
func (d *drawing) layout(edges []Edge, box Size, down bool) Layout {
	first, last := 0.0, 0.0 // across
	for i, v := range d.all() {
		half := d.across / 2
		if v.track {
			half = 0
		}
		if i == 0 {
			first, last = v.position-half, v.position+half
		}
		first, last = min(first, v.position-half), max(last, v.position+half)
	}
	starts := make([]float64, len(d.ranks)) // along
	for r := 1; r < len(d.ranks); r++ {
		starts[r] = starts[r-1] + d.along + d.gapAfter(r-1)
	}
	end := 0.0
	if len(starts) > 0 {
		end = starts[len(starts)-1] + d.along
	}
	at := func(along, across float64) Point {
		if down {
			return Point{X: across - first, Y: along}
		}
		return Point{X: along, Y: across - first}
	}
	l := Layout{Down: down, Size: Size{Width: end, Height: last - first}}
	if down {
		l.Size = Size{Width: last - first, Height: end}
	}
	for _, v := range d.nodes {
		l.Boxes = append(l.Boxes, at(starts[v.rank], v.position-d.across/2))
	}
	for i := range edges {
		chain := d.chains[i]
		var route Route
		for k, v := range chain {
			if k > 0 {
				route = append(route, at(starts[v.rank], v.position))
			}
			if k < len(chain)-1 {
				route = append(route, at(starts[v.rank]+d.along, v.position))
			}
		}
		l.Routes = append(l.Routes, route)
	}
	return l
}

func (d *drawing) all() []*vertex {
	var all []*vertex
	for _, rank := range d.ranks {
		all = append(all, rank...)
	}
	return all
}

// gapAfter is the length of the gap behind a rank: the further its edges lead across,
// the longer.
func (d *drawing) gapAfter(r int) float64 {
	furthest := 0.0
	for _, u := range d.ranks[r] {
		for _, v := range u.after {
			furthest = max(furthest, v.position-u.position, u.position-v.position)
		}
	}
	return max(d.gap, min(furthest*gapSlope, widestGap))
}
