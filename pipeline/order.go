package pipeline

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/dominikbraun/graph"

	"pipe/internal/problem"
)

// newGraph puts steps into a directed graph, an edge from each step to the steps
// that read from it.
func newGraph(steps []*Step) graph.Graph[string, *Step] {
	g := graph.New(func(s *Step) string { return s.Name }, graph.Directed())
	for _, s := range steps {
		_ = g.AddVertex(s) // names are unique: they are keys of one map
	}
	for _, s := range steps {
		for _, in := range s.Inputs {
			for from := range in.Makers() {
				_ = g.AddEdge(from.Name, s.Name) // a second edge between two steps is the same edge
			}
		}
	}
	return g
}

// sortSteps orders steps so that each stands behind those it reads from, and
// otherwise as they stand in the file (Kahn 1962, with the earliest ready step
// first). The library's own orders take quadratic time. cycles holds the members
// of each circle, if there are any; sorted is then nil.
func sortSteps(steps []*Step) (sorted []*Step, cycles [][]*Step) {
	position := make(map[*Step]int, len(steps))
	for i, s := range steps {
		position[s] = i
	}
	missing := make([]int, len(steps)) // steps that must come first
	readers := make([][]int, len(steps))
	for i, s := range steps {
		for _, in := range s.Inputs {
			for maker := range in.Makers() {
				from := position[maker]
				if n := len(readers[from]); n == 0 || readers[from][n-1] != i { // i rises: it can only be the last
					readers[from] = append(readers[from], i)
					missing[i]++
				}
			}
		}
	}
	ready := &intHeap{}
	for i, n := range missing {
		if n == 0 {
			heap.Push(ready, i)
		}
	}
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		sorted = append(sorted, steps[i])
		for _, r := range readers[i] {
			if missing[r]--; missing[r] == 0 {
				heap.Push(ready, r)
			}
		}
	}
	if len(sorted) == len(steps) {
		return sorted, nil
	}
	return nil, findCycles(steps, position)
}

func findCycles(steps []*Step, position map[*Step]int) [][]*Step {
	components, err := graph.StronglyConnectedComponents(newGraph(steps))
	if err != nil {
		panic(fmt.Sprintf("internal error: pipeline: %v", err))
	}
	byName := make(map[string]*Step, len(steps))
	for _, s := range steps {
		byName[s.Name] = s
	}
	var cycles [][]*Step
	for _, names := range components {
		members := make(map[*Step]bool, len(names))
		for _, n := range names {
			members[byName[n]] = true
		}
		if cycle := walkCycle(members, position); cycle != nil {
			cycles = append(cycles, cycle)
		}
	}
	slices.SortFunc(cycles, func(a, b []*Step) int { return position[a[0]] - position[b[0]] })
	return cycles
}

// walkCycle returns one circle among the members, in the direction of the data,
// beginning with the step that stands first in the file.
func walkCycle(members map[*Step]bool, position map[*Step]int) []*Step {
	var start *Step
	for s := range members {
		if start == nil || position[s] < position[start] {
			start = s
		}
	}
	var back []*Step // against the direction of the data
	seen := map[*Step]int{}
	for at := start; ; {
		if i, ok := seen[at]; ok {
			back = back[i:]
			break
		}
		seen[at] = len(back)
		back = append(back, at)
		var next *Step
		for _, in := range at.Inputs {
			for from := range in.Makers() {
				if next == nil && members[from] {
					next = from
				}
			}
		}
		if next == nil {
			return nil // a single step that reads nothing of its own
		}
		at = next
	}
	slices.Reverse(back)
	first := 0
	for i, s := range back {
		if position[s] < position[back[first]] {
			first = i
		}
	}
	return append(back[first:len(back):len(back)], back[:first]...)
}

func cycleProblem(cycle []*Step) problem.Problem {
	names := make([]string, 0, len(cycle)+1)
	for _, s := range cycle {
		names = append(names, s.Name)
	}
	names = append(names, cycle[0].Name)
	places := make([]string, len(cycle))
	for i, s := range cycle {
		places[i] = fmt.Sprintf("%s in line %d", s.Name, s.at.Pos.Line)
	}
	p := cycle[0].at.Problem("stages form a circle: %s", strings.Join(names, " → "))
	p.Hint = "no stage may read, through others, what it makes itself: " + strings.Join(places, ", ")
	return p
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
