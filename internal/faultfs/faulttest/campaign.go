//go:build unix

package faulttest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"pipe/internal/faultfs"
)

// Sizes are how many operations the runs of each scene do, of which kind, and how many
// changes of the disk a power cut may come after. They decide which cases there are.
type Sizes struct {
	Kinds   map[string][]faultfs.Kind `json:"kinds"`
	Changes int                       `json:"changes"`
}

// How many cases there are of the parts that choose by seed.
const (
	instants = 1_000
	cuts     = 10_000
	damages  = 10_000
)

// Sizes measures them.
func (l *Lab) Sizes() (Sizes, error) {
	s := Sizes{Kinds: map[string][]faultfs.Kind{}}
	var err error
	for _, scene := range []string{"fresh", "edit", "hit"} {
		if s.Kinds[scene], err = l.kinds(scene); err != nil {
			return s, err
		}
	}
	s.Changes, err = l.changes()
	return s, err
}

// Parts lists the parts in the order in which they are told of.
var Parts = []string{"errno", "kill", "instant", "cut", "damage"}

// Cases returns all cases, mixed: every beginning of the list holds of each part the
// same share.
func (s Sizes) Cases(seed uint64) []Case {
	type placed struct {
		Case
		at float64
	}
	var all []placed
	rng := rand.New(rand.NewPCG(seed, 4))
	for _, part := range Parts {
		cases := s.part(part)
		rng.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
		for i, c := range cases {
			all = append(all, placed{c, (float64(i) + 0.5) / float64(len(cases))})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	mixed := make([]Case, len(all))
	for i, p := range all {
		mixed[i] = p.Case
	}
	return mixed
}

func (s Sizes) part(part string) (cases []Case) {
	switch part {
	case "errno":
		for _, scene := range []string{"fresh", "edit", "hit"} {
			cases = append(cases, s.errnos(scene)...)
		}
	case "kill":
		for _, scene := range []string{"fresh", "edit"} {
			for i, kind := range s.Kinds[scene] {
				cases = append(cases, Case{Part: part, Scene: scene, Op: i + 1})
				if kind == faultfs.WriteOp {
					cases = append(cases, Case{Part: part, Scene: scene, Op: i + 1, Half: true})
				}
			}
		}
	case "instant":
		for seed := range uint64(instants) {
			cases = append(cases, Case{Part: part, Scene: []string{"fresh", "edit"}[seed%2], Seed: seed + 1})
		}
	case "cut":
		for i := range cuts {
			cases = append(cases, Case{Part: part, Op: i % (s.Changes + 1), Seed: uint64(i) + 1})
		}
	case "damage":
		for seed := range uint64(damages) {
			cases = append(cases, Case{Part: part, Seed: seed + 1})
		}
	}
	return cases
}

// errnos are the cases of a scene: each error at each operation, once and to stay, and
// each write that stops half-way on a full disk.
func (s Sizes) errnos(scene string) (cases []Case) {
	for i, kind := range s.Kinds[scene] {
		c := Case{Part: "errno", Scene: scene, Op: i + 1}
		for _, c.Errno = range slices.Sorted(maps.Keys(Errnos)) {
			for _, c.Sticky = range []bool{false, true} {
				cases = append(cases, c)
			}
		}
		if kind == faultfs.WriteOp {
			c.Errno, c.Half = "ENOSPC", true
			cases = append(cases, c)
		}
	}
	return cases
}

// Tally is what became of the cases of a part.
type Tally struct {
	All     int     `json:"all"`
	Tried   int     `json:"tried"`
	Hit     int     `json:"hit"` // in which something went wrong
	Failed  int     `json:"failed"`
	Seconds float64 `json:"seconds"`
}

func (t Tally) String() string {
	return fmt.Sprintf("%d of %d tried, %d hit, %d failed", t.Tried, t.All, t.Hit, t.Failed)
}
