package layered

import (
	"cmp"
	"fmt"
	"slices"
)

// rankNodes puts every node one rank behind the last of its sources, and what is read
// more than it reads close to its readers.
func rankNodes(n int, edges []Edge) []int {
	sources, readers := neighbours(n, edges)
	ranks := make([]int, n)
	for v := range n {
		for _, u := range sources[v] {
			ranks[v] = max(ranks[v], ranks[u]+1)
		}
	}
	for v := n - 1; v >= 0; v-- {
		if len(readers[v]) > len(sources[v]) {
			nearest := slices.MinFunc(readers[v], func(a, b int) int { return cmp.Compare(ranks[a], ranks[b]) })
			ranks[v] = ranks[nearest] - 1
		}
	}
	return ranks
}

func neighbours(n int, edges []Edge) (sources, readers [][]int) {
	sources, readers = make([][]int, n), make([][]int, n)
	for _, e := range edges {
		sources[e.To] = append(sources[e.To], e.From)
		readers[e.From] = append(readers[e.From], e.To)
	}
	return sources, readers
}

// fold spreads ranks of more than widest nodes over several. Only siblings are moved,
// nodes with the same sources and readers: a block of them shows what a long row
// would, and chains that run side by side stay as they are.
func fold(ranks []int, edges []Edge, widest int) {
	sources, readers := neighbours(len(ranks), edges)
	byRank := map[int][]int{}
	for v, r := range ranks {
		byRank[r] = append(byRank[r], v)
	}
	moved := 0 // how far the rank's beginning has moved
	for r := 0; r < len(byRank); r++ {
		siblings := map[string][]int{}
		for _, v := range byRank[r] {
			ranks[v] += moved
			slices.Sort(sources[v])
			slices.Sort(readers[v])
			family := fmt.Sprint(sources[v], readers[v])
			siblings[family] = append(siblings[family], v)
		}
		rows := (len(byRank[r]) + widest - 1) / widest
		deepest := 0
		for _, members := range siblings {
			for i, v := range members {
				row := i * rows / len(members)
				ranks[v] += row
				deepest = max(deepest, row)
			}
		}
		moved += deepest
	}
}
