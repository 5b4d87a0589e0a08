package explain

// pair is an element of an old and of a new list that belong together.
type pair struct{ old, new int }

// matching is how the elements of two lists belong together.
type matching struct {
	oldLeft        []int // elements without an equal, rising
	newLeft        []int
	partner        []int // by new element: its old one, or -1
	reordered      bool  // equal elements stand in another order
	oldHas, newHas []bool
}

// match pairs equal elements: those before the first and behind the last difference
// where they stand, the others in order of appearance.
func match(old, new []string) *matching {
	m := &matching{partner: make([]int, len(new)), oldHas: make([]bool, len(old)), newHas: make([]bool, len(new))}
	join := func(i, j int) { m.partner[j], m.oldHas[i], m.newHas[j] = i, true, true }
	from := 0
	for from < len(old) && from < len(new) && old[from] == new[from] {
		join(from, from)
		from++
	}
	oldEnd, newEnd := len(old), len(new)
	for oldEnd > from && newEnd > from && old[oldEnd-1] == new[newEnd-1] {
		oldEnd--
		newEnd--
		join(oldEnd, newEnd)
	}
	where := map[string][]int{}
	for i := from; i < oldEnd; i++ {
		where[old[i]] = append(where[old[i]], i)
	}
	for j := from; j < newEnd; j++ {
		if list := where[new[j]]; len(list) > 0 {
			join(list[0], j)
			where[new[j]] = list[1:]
		}
	}
	last := -1
	for j, has := range m.newHas {
		if !has {
			m.partner[j] = -1
			m.newLeft = append(m.newLeft, j)
			continue
		}
		i := m.partner[j]
		m.reordered = m.reordered || i < last
		last = i
	}
	for i, has := range m.oldHas {
		if !has {
			m.oldLeft = append(m.oldLeft, i)
		}
	}
	return m
}

// join pairs what is left where equal says so, in order.
func (m *matching) join(name func(old bool, i int) string) []pair {
	where := map[string][]int{}
	for _, i := range m.oldLeft {
		if n := name(true, i); n != "" {
			where[n] = append(where[n], i)
		}
	}
	var pairs []pair
	for _, j := range m.newLeft {
		if list := where[name(false, j)]; len(list) > 0 {
			pairs = append(pairs, pair{list[0], j})
			where[name(false, j)] = list[1:]
		}
	}
	m.take(pairs)
	return pairs
}

// nearest is how many elements at a place are looked at for one that is alike: it
// keeps the time for two lists that have nothing in common linear.
const nearest = 8

// neighbours pairs what is left by place: elements behind the same matched element
// belong together in order if they are alike.
func (m *matching) neighbours(alike func(i, j int) bool) []pair {
	behindOld := make([]int, len(m.oldHas)) // the matched element before each
	last := -1
	for i, has := range m.oldHas {
		behindOld[i] = last
		if has {
			last = i
		}
	}
	gaps := map[int][]int{}
	for _, i := range m.oldLeft {
		gaps[behindOld[i]] = append(gaps[behindOld[i]], i)
	}
	left := map[int]bool{}
	for _, j := range m.newLeft {
		left[j] = true
	}
	var pairs []pair
	gap := -1
	for j := range m.newHas {
		if !left[j] {
			gap = m.partner[j]
			continue
		}
		for k, i := range gaps[gap][:min(len(gaps[gap]), nearest)] {
			if alike(i, j) {
				pairs = append(pairs, pair{i, j})
				gaps[gap] = gaps[gap][k+1:]
				break
			}
		}
	}
	m.take(pairs)
	return pairs
}

// take removes pairs from what is left.
func (m *matching) take(pairs []pair) {
	for _, p := range pairs {
		m.partner[p.new], m.oldHas[p.old], m.newHas[p.new] = p.old, true, true
	}
	m.oldLeft, m.newLeft = unmatched(m.oldLeft, m.oldHas), unmatched(m.newLeft, m.newHas)
}

func unmatched(left []int, has []bool) []int {
	var rest []int
	for _, i := range left {
		if !has[i] {
			rest = append(rest, i)
		}
	}
	return rest
}

// alike says whether two texts are versions of one: they share enough of their
// beginning and end.
func alike(a, b string) bool {
	const share = 0.3
	most, least := max(len(a), len(b)), min(len(a), len(b))
	prefix := 0
	for prefix < least && a[prefix] == b[prefix] {
		prefix++
	}
	suffix := 0
	for suffix < least-prefix && a[len(a)-1-suffix] == b[len(b)-1-suffix] {
		suffix++
	}
	return float64(prefix+suffix) >= share*float64(most)
}
