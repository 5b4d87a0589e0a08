//go:build unix

package faulttest

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Disk is what a disk may hold after a power cut.
type Disk struct{ nodes []diskNode }

type diskNode struct {
	kind    eventKind   // madeDir, madeLink or madeFile
	mode    os.FileMode // that was synced, or made
	modeNow os.FileMode
	link    string
	lasting string // of a file: what was synced
	bytes   string // what was written
	anew    bool   // more was done since the sync than to append
	names   map[string]int
	pending []map[string]int // of a folder: changes of names since its sync
}

// Disk returns what was on disk and what was under way after the first n changes.
func (j *Journal) Disk(n int) *Disk {
	j.mu.Lock()
	defer j.mu.Unlock()
	d := &Disk{}
	for _, e := range j.events[:j.begun+n] {
		for len(d.nodes) <= e.node {
			d.nodes = append(d.nodes, diskNode{})
		}
		at := &d.nodes[e.node]
		switch e.kind {
		case madeDir, madeLink, madeFile:
			*at = diskNode{kind: e.kind, mode: e.mode, modeNow: e.mode, link: e.data, names: map[string]int{}}
		case wrote:
			at.anew = at.anew || !strings.HasPrefix(e.data, at.bytes)
			at.bytes = e.data
		case chmoded:
			at.modeNow = e.mode
		case renamed:
			at.pending = append(at.pending, e.set)
		case syncedFile:
			at.lasting, at.mode, at.anew = at.bytes, at.modeNow, false
		case syncedDir:
			for _, set := range at.pending {
				at.apply(set)
			}
			at.pending = nil
		}
	}
	return d
}

func (n *diskNode) apply(set map[string]int) { apply(n.names, set) }

func apply(names, set map[string]int) {
	for name, node := range set {
		if node == absent {
			delete(names, name)
		} else {
			names[name] = node
		}
	}
}

// Cut writes to dir, which must not exist, one of the states that the power cut may
// leave: seed chooses which.
func (d *Disk) Cut(seed uint64, dir string) error {
	rng := rand.New(rand.NewPCG(seed, uint64(len(d.nodes))))
	c := cut{disk: d, seed: seed, names: chance(rng), bytes: chance(rng)}
	return c.write(0, dir)
}

// chance is how likely what was not synced lasts: never, always, or in between.
func chance(rng *rand.Rand) float64 { return []float64{0, 1, 0.5, 0.9}[rng.IntN(4)] }

type cut struct {
	disk         *Disk
	seed         uint64
	names, bytes float64
}

func (c *cut) write(n int, path string) error {
	node := &c.disk.nodes[n]
	// By number, so that random names do not decide what is lost.
	rng := rand.New(rand.NewPCG(c.seed, uint64(n)))
	switch node.kind {
	case madeLink:
		return os.Symlink(node.link, path)
	case madeFile:
		mode := node.mode
		if rng.Float64() < c.names {
			mode = node.modeNow
		}
		return os.WriteFile(path, []byte(c.content(rng, node)), mode)
	}
	if err := os.Mkdir(path, node.mode|0o700); err != nil {
		return err
	}
	names := maps.Clone(node.names)
	for _, set := range node.pending {
		if rng.Float64() < c.names {
			apply(names, set)
		}
	}
	var err error
	for _, name := range slices.Sorted(maps.Keys(names)) {
		err = errors.Join(err, c.write(names[name], filepath.Join(path, name)))
	}
	return err
}

// block is how much of a file is torn off at once, in bytes. Disks have more; the
// toy's files are small.
const block = 16

// content is what is left of a file. To append does nothing to what lasts.
func (c *cut) content(rng *rand.Rand, n *diskNode) string {
	switch {
	case n.lasting == n.bytes || rng.Float64() < c.bytes:
		return n.bytes
	case !n.anew:
		return n.lasting + tear(rng, "", n.bytes[len(n.lasting):])
	}
	return tear(rng, n.lasting, n.bytes)
}

// tear returns one of the things that may become of a file that held what lasts, and
// into which bytes were written.
func tear(rng *rand.Rand, lasting, bytes string) string {
	switch rng.IntN(4) {
	case 0:
		return lasting
	case 1:
		return "" // the size is written last
	case 2:
		return string(make([]byte, len(bytes))) // the size is written first
	}
	torn := make([]byte, rng.IntN(len(bytes)+1))
	for at := 0; at < len(torn); at += block {
		end := min(at+block, len(torn))
		switch from := bytes; rng.IntN(3) {
		case 0: // zeros
		case 1:
			from = lasting
			fallthrough
		default:
			if at < len(from) {
				copy(torn[at:end], from[at:])
			}
		}
	}
	return string(torn)
}
