package layered

import (
	"math"
	"math/rand"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	box   = Size{Width: 200, Height: 56}
	label = Size{Width: 70, Height: 12}
)

// graphs are of the shapes that pipelines have, and of some that they have not.
var graphs = map[string]func(n int) []Edge{
	"nothing": func(int) []Edge { return nil },
	"chain": func(n int) []Edge {
		var edges []Edge
		for i := 1; i < n; i++ {
			edges = append(edges, Edge{i - 1, i})
		}
		return edges
	},
	"fan": func(n int) []Edge { // one, many, one
		var edges []Edge
		for i := 1; i < n-1; i++ {
			edges = append(edges, Edge{0, i}, Edge{i, n - 1})
		}
		return edges
	},
	"chains side by side": func(n int) []Edge {
		var edges []Edge
		for i := 1; i < n-1; i++ {
			edges = append(edges, Edge{max(i-10, 0), i})
			if i+10 >= n-1 {
				edges = append(edges, Edge{i, n - 1})
			}
		}
		return edges
	},
	"two full ranks": func(n int) []Edge {
		var edges []Edge
		for i := range n / 2 {
			for j := n / 2; j < n; j++ {
				edges = append(edges, Edge{i, j})
			}
		}
		return edges
	},
	"random": func(n int) []Edge { return randomEdges(rand.New(rand.NewSource(1)), n, 2*n) },
	"everything reads the first": func(n int) []Edge {
		edges := randomEdges(rand.New(rand.NewSource(2)), n, n)
		for i := 1; i < n; i++ {
			edges = append(edges, Edge{0, i})
		}
		return edges
	},
}

func randomEdges(random *rand.Rand, n, count int) []Edge {
	var edges []Edge
	for range count {
		from := random.Intn(n)
		if to := from + 1 + random.Intn(30); to < n {
			edges = append(edges, Edge{from, to})
		}
	}
	return edges
}

func TestBoxesDoNotOverlapAndEdgesKeepOutOfThem(t *testing.T) {
	for name, make := range graphs {
		for _, n := range []int{2, 6, 30, 300} {
			edges := make(n)
			check(t, name, n, edges, Lay(n, edges, box, label))
		}
	}
}

func TestRandomGraphs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "n")
		var edges []Edge
		for range rapid.IntRange(0, 80).Draw(rt, "edges") {
			a, b := rapid.IntRange(0, n-1).Draw(rt, "from"), rapid.IntRange(0, n-1).Draw(rt, "to")
			if a != b {
				edges = append(edges, Edge{min(a, b), max(a, b)})
			}
		}
		for _, down := range []bool{true, false} {
			check(rt, "random", n, edges, lay(n, edges, box, label, down))
		}
	})
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

// check holds a layout to what it promises.
func check(t failer, name string, n int, edges []Edge, l Layout) {
	t.Helper()
	if len(l.Boxes) != n || len(l.Routes) != len(edges) {
		t.Errorf("%s of %d: %d boxes, %d routes for %d edges", name, n, len(l.Boxes), len(l.Routes), len(edges))
		return
	}
	for i, a := range l.Boxes {
		if a.X < 0 || a.Y < 0 || a.X+box.Width > l.Size.Width+0.01 || a.Y+box.Height > l.Size.Height+0.01 {
			t.Errorf("%s of %d: box %d at %v is outside %v", name, n, i, a, l.Size)
		}
		for j, b := range l.Boxes[:i] {
			if math.Abs(a.X-b.X) < box.Width+boxGap-0.01 && math.Abs(a.Y-b.Y) < box.Height+boxGap-0.01 {
				t.Errorf("%s of %d: boxes %d at %v and %d at %v are too close", name, n, i, a, j, b)
			}
		}
	}
	for i, route := range l.Routes {
		from, to := l.Boxes[edges[i].From], l.Boxes[edges[i].To]
		start, end := Point{from.X + box.Width, from.Y + box.Height/2}, Point{to.X, to.Y + box.Height/2}
		if l.Down {
			start, end = Point{from.X + box.Width/2, from.Y + box.Height}, Point{to.X + box.Width/2, to.Y}
		}
		if distance(route[0], start) > 0.01 || distance(route[len(route)-1], end) > 0.01 || len(route)%2 != 0 {
			t.Errorf("%s of %d: the route of %v is %v, its ends are %v and %v", name, n, edges[i], route, start, end)
		}
	}
	for i, b := range blocked(l, edges) {
		t.Errorf("%s of %d: edge %v runs through box %d", name, n, edges[i], b)
	}
}

func distance(a, b Point) float64 { return math.Hypot(a.X-b.X, a.Y-b.Y) }

// blocked tells which edges run through a box: each piece of a way stays within the
// rectangle of its ends, curves too, and that must touch no box from within.
func blocked(l Layout, edges []Edge) map[int]int {
	found := map[int]int{}
	for i, route := range l.Routes {
		for k := 1; k < len(route); k++ {
			a, b := route[k-1], route[k]
			for n, at := range l.Boxes {
				if min(a.X, b.X) < at.X+box.Width-0.01 && max(a.X, b.X) > at.X+0.01 && min(a.Y, b.Y) < at.Y+box.Height-0.01 && max(a.Y, b.Y) > at.Y+0.01 {
					found[i] = n
				}
			}
		}
	}
	return found
}

func TestSizeIsBounded(t *testing.T) {
	for name, make := range graphs {
		l := Lay(300, make(300), box, label)
		// A chain is as long as it is; what is wide and shallow is folded.
		if longest := max(l.Size.Width, l.Size.Height); longest > 300*(box.Height+label.Height+rankGap) {
			t.Errorf("%s: %v", name, l.Size)
		}
		if (name == "fan" || name == "nothing") && max(l.Size.Width, l.Size.Height) > 4000 {
			t.Errorf("%s: %v", name, l.Size)
		}
		t.Logf("%s: %.0f × %.0f", name, l.Size.Width, l.Size.Height)
	}
}

func TestLayoutOf300NodesIsQuick(t *testing.T) {
	for name, make := range graphs {
		edges := make(300)
		begin := time.Now()
		Lay(300, edges, box, label)
		took := time.Since(begin)
		t.Logf("%s, %d edges: %s", name, len(edges), took)
		if took > 10*time.Second { // usual: a few milliseconds; two full ranks of 22,500 edges 0.2 s
			t.Errorf("%s took %s", name, took)
		}
	}
}

func TestEqualGraphsHaveEqualDrawings(t *testing.T) {
	for name, make := range graphs {
		want := Lay(60, make(60), box, label)
		for range 5 {
			if got := Lay(60, make(60), box, label); !reflect.DeepEqual(got, want) {
				t.Errorf("%s differs", name)
			}
		}
	}
}

func TestNodesStandCloseToTheirReaders(t *testing.T) {
	// The shipped pipeline: 0 normalize, 1 tokenize, 2 quantize, 3 train, 4 sweep, 5 select.
	edges := []Edge{{0, 1}, {1, 3}, {2, 3}, {0, 4}, {2, 4}, {3, 4}, {3, 5}, {4, 5}}
	if got := rankNodes(6, edges); !slices.Equal(got, []int{0, 1, 1, 2, 3, 4}) {
		t.Errorf("got %v", got)
	}
}

func TestSiblingsAreFoldedAndChainsAreNot(t *testing.T) {
	ranks := rankNodes(12, graphs["fan"](12))
	fold(ranks, graphs["fan"](12), 4)
	if !slices.Equal(ranks, []int{0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4}) {
		t.Errorf("got %v", ranks)
	}
	chains := []Edge{{0, 3}, {1, 4}, {2, 5}, {3, 6}, {4, 7}, {5, 8}}
	ranks = rankNodes(9, chains)
	fold(ranks, chains, 2)
	if !slices.Equal(ranks, []int{0, 0, 0, 1, 1, 1, 2, 2, 2}) {
		t.Errorf("got %v", ranks)
	}
}

func TestCrossingsAreCounted(t *testing.T) {
	for _, c := range []struct {
		edges []Edge
		want  int
	}{
		{[]Edge{{0, 3}, {1, 4}, {2, 5}}, 0},
		{[]Edge{{0, 5}, {1, 4}, {2, 3}}, 3},
		{[]Edge{{0, 3}, {0, 4}, {0, 5}, {1, 3}}, 2},
		{[]Edge{{0, 3}, {0, 4}, {0, 5}, {1, 3}, {1, 4}, {1, 5}, {2, 3}, {2, 4}, {2, 5}}, 9},
	} {
		d := &drawing{along: 1, across: 1, gap: 1}
		d.build(6, c.edges)
		d.number()
		if got := d.crossings(); got != c.want {
			t.Errorf("%v: got %d, want %d", c.edges, got, c.want)
		}
	}
}

func TestCrossingsThatNeedNotBeAreUndone(t *testing.T) {
	d := &drawing{along: 1, across: 1, gap: 1}
	d.build(8, []Edge{{0, 7}, {1, 6}, {2, 5}, {3, 4}})
	d.order()
	if got := d.crossings(); got != 0 {
		t.Errorf("got %d", got)
	}
}
