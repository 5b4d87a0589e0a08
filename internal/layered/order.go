package layered

import (
	"cmp"
	"slices"
	"sort"
)

// sweeps is how often the order is tried anew, once down and once up each. More gain
// nothing: graphs of 300 nodes settle in about eight.
const sweeps = 12

// order sorts the ranks so that few edges cross: what has its neighbours in the
// middle goes there, sweep by sweep, and the best of all orders is kept.
func (d *drawing) order() {
	d.centreTracks()
	d.number()
	best, least := d.snapshot(), d.crossings()
	for range sweeps {
		if least == 0 {
			return
		}
		for r := 1; r < len(d.ranks); r++ {
			d.sortRank(r, func(v *vertex) []*vertex { return v.before })
		}
		for r := len(d.ranks) - 2; r >= 0; r-- {
			d.sortRank(r, func(v *vertex) []*vertex { return v.after })
		}
		if n := d.crossings(); n < least {
			best, least = d.snapshot(), n
		}
	}
	d.ranks = best
	d.number()
}

// centreTracks puts the tracks of each rank between its boxes, where those that have
// nothing else to go by leave them: a trunk runs straight through the middle of what
// it serves.
func (d *drawing) centreTracks() {
	for r, rank := range d.ranks {
		isTrack := func(v *vertex) bool { return v.track }
		first := slices.IndexFunc(rank, isTrack) // behind the boxes
		if first < 0 {
			continue
		}
		d.ranks[r] = slices.Concat(rank[:first/2], rank[first:], rank[first/2:first])
	}
}

func (d *drawing) number() {
	for _, rank := range d.ranks {
		for i, v := range rank {
			v.at = i
		}
	}
}

func (d *drawing) snapshot() [][]*vertex {
	ranks := make([][]*vertex, len(d.ranks))
	for i, rank := range d.ranks {
		ranks[i] = slices.Clone(rank)
	}
	return ranks
}

// sortRank sorts a rank by the mean place of each vertex' neighbours, in parts of
// their rank's length. What has none stays where it is.
func (d *drawing) sortRank(r int, neighbours func(*vertex) []*vertex) {
	want := make(map[*vertex]float64, len(d.ranks[r]))
	for _, v := range d.ranks[r] {
		want[v] = d.part(v)
		if near := neighbours(v); len(near) > 0 {
			sum := 0.0
			for _, u := range near {
				sum += d.part(u)
			}
			want[v] = sum / float64(len(near))
		}
	}
	slices.SortStableFunc(d.ranks[r], func(a, b *vertex) int { return cmp.Compare(want[a], want[b]) })
	for i, v := range d.ranks[r] {
		v.at = i
	}
}

func (d *drawing) part(v *vertex) float64 {
	return (float64(v.at) + 0.5) / float64(len(d.ranks[v.rank]))
}

// crossings counts the pairs of edges that cross, in O(E log V): taken in the order
// of their sources, an edge crosses those before it that lead further
// (Barth, Jünger and Mutzel 2002).
func (d *drawing) crossings() int {
	total := 0
	for r := 1; r < len(d.ranks); r++ {
		tree := make([]int, len(d.ranks[r])+1) // Fenwick: how many edges lead to places before i
		seen := 0
		for _, u := range d.ranks[r-1] {
			ends := make([]int, len(u.after))
			for i, v := range u.after {
				ends[i] = v.at
			}
			sort.Ints(ends)
			for _, end := range ends {
				total += seen
				for i := end + 1; i > 0; i -= i & -i {
					total -= tree[i]
				}
			}
			for _, end := range ends {
				seen++
				for i := end + 1; i < len(tree); i += i & -i {
					tree[i]++
				}
			}
		}
	}
	return total
}
