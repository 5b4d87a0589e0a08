package cache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
)

// Known is what the runs tell of a store's content. The store itself knows no runs.
type Known struct {
	Used    map[Key]time.Time // when a result was last used, where that was after it was made
	Fixed   map[Key]bool      // results that never go: published or pinned ones
	Current map[Key]bool      // results of the newest runs, which go last
	Objects []KnownObject     // content that is worth its room beside what records name
	// Unsure is a time up to which there were runs of which not all is known: what was
	// made before may be published. The zero time is none.
	Unsure time.Time
}

// fixes says whether a record never goes, or may be one that does not.
func (k Known) fixes(h *Holding) bool {
	return k.Fixed[h.Key] || !k.Unsure.IsZero() && !h.Made.Time.After(k.Unsure)
}

// KnownObject is content that a run used and that no record need name.
type KnownObject struct {
	Object
	Used  time.Time
	Fixed bool // it never goes: it is published
}

// Limits bound what a collection leaves. What nothing names goes in any case.
type Limits struct {
	Before time.Time // what was last used before goes; the zero time is no limit
	Size   int64     // how large the store may be, in bytes; 0 is no limit
}

// Collection is what a collection removes, or has removed.
type Collection struct {
	Records []*Holding
	States  []StateUse
	Kept    []KeptAttempt
	Blobs   []Digest

	Freed   int64 // in bytes
	Garbage int64 // of Freed: what nothing named
	Unnamed int64 // what nothing named and stays: what cannot be read may name it
	Left    int64 // the size of the store afterwards, in bytes
	Spared  int   // records and blobs that stayed because a run under way uses them
}

// item is something that may go: a record, an object, a state or a kept attempt.
type item struct {
	record *Holding
	state  *StateUse
	kept   *KeptAttempt
	blobs  []Digest
	size   int64 // of its own, beside the blobs
	used   time.Time
	fixed  bool
	last   bool
	aged   bool // it goes for its age only, and never for room
}

// Plan chooses what goes. First what nothing names, then what was not used for long;
// then, while the store is too large, what takes the most room for the longest time:
// size × time since it was last used. Results of the newest runs go after all others.
// A blob goes with the last item that names it. What nothing names stays while something
// that cannot be read may name it: a tree's manifest, or a history.
func (inv *Inventory) Plan(known Known, limits Limits, now time.Time) (*Collection, error) {
	items, err := inv.items(known)
	if err != nil {
		return nil, err
	}
	p := planner{inv: inv, refs: map[Digest]int{}, c: &Collection{Left: inv.Total()}}
	for _, it := range items {
		for _, d := range it.blobs {
			p.refs[d]++
		}
	}
	for d, size := range inv.Blobs {
		if p.refs[d] > 0 {
			continue
		}
		if len(inv.Unlisted) > 0 || !known.Unsure.IsZero() {
			p.c.Unnamed += size
		} else {
			p.c.Blobs = append(p.c.Blobs, d)
			p.free(size)
		}
	}
	p.free(inv.Quarantine)
	p.c.Garbage = p.c.Freed
	items = slices.DeleteFunc(items, func(it *item) bool { return it.fixed })
	items = slices.DeleteFunc(items, func(it *item) bool {
		old := it.used.Before(limits.Before)
		if old {
			p.drop(it)
		}
		return old || it.aged
	})
	if limits.Size > 0 && p.c.Left > limits.Size {
		p.sortByWorth(items, now)
		for _, it := range items {
			if p.c.Left <= limits.Size {
				break
			}
			p.drop(it)
		}
	}
	return p.c, nil
}

// items lists what may go, and what may not.
func (inv *Inventory) items(known Known) ([]*item, error) {
	var items []*item
	for _, h := range inv.Records {
		used := h.Made.Time
		if at := known.Used[h.Key]; at.After(used) {
			used = at
		}
		items = append(items, &item{record: h, blobs: h.Blobs, size: h.Size, used: used, fixed: known.fixes(h), last: known.Current[h.Key]})
	}
	for _, o := range known.Objects {
		blobs, err := inv.Expand(o.Object)
		if err != nil {
			return nil, err
		}
		items = append(items, &item{blobs: blobs, used: o.Used, fixed: o.Fixed})
	}
	for i := range inv.States {
		st := &inv.States[i]
		items = append(items, &item{state: st, size: st.Size, used: st.Changed, aged: !st.About.Done})
	}
	for i := range inv.Kept {
		k := &inv.Kept[i]
		items = append(items, &item{kept: k, size: k.Size, used: k.Changed})
	}
	return items, nil
}

// planner keeps the books of a plan.
type planner struct {
	inv  *Inventory
	refs map[Digest]int // how many items that stay name a blob
	c    *Collection
}

func (p *planner) free(size int64) {
	p.c.Freed += size
	p.c.Left -= size
}

func (p *planner) drop(it *item) {
	switch {
	case it.record != nil:
		p.c.Records = append(p.c.Records, it.record)
	case it.state != nil:
		p.c.States = append(p.c.States, *it.state)
	case it.kept != nil:
		p.c.Kept = append(p.c.Kept, *it.kept)
	}
	p.free(it.size)
	for _, d := range it.blobs {
		if p.refs[d]--; p.refs[d] > 0 {
			continue
		}
		if size, there := p.inv.Blobs[d]; there {
			p.c.Blobs = append(p.c.Blobs, d)
			p.free(size)
		}
	}
}

// sortByWorth puts first what goes first.
func (p *planner) sortByWorth(items []*item, now time.Time) {
	worth := make(map[*item]float64, len(items))
	for _, it := range items {
		size := float64(it.size)
		for _, d := range it.blobs {
			size += float64(p.inv.Blobs[d]) / float64(max(p.refs[d], 1))
		}
		worth[it] = size * max(now.Sub(it.used), time.Second).Seconds()
	}
	slices.SortStableFunc(items, func(a, b *item) int {
		switch {
		case a.last != b.last && a.last:
			return 1
		case a.last != b.last:
			return -1
		case worth[a] > worth[b]:
			return -1
		case worth[a] < worth[b]:
			return 1
		}
		return 0
	})
}

// Collect removes what plan chooses from what lies in the store, but for what
// processes under way have begun to use meanwhile (Hold). Records go before blobs, so
// that a collection that is cut short leaves garbage and nothing else. waiting is
// called once if another collection is under way, which ends first.
func (s *Store) Collect(ctx context.Context, plan func(*Inventory) (*Collection, error), waiting func(holder string)) (*Collection, error) {
	locks := filepath.Join(s.dir, "locks")
	done, err := Lock(ctx, filepath.Join(locks, collectName), false, waiting)
	if err != nil {
		return nil, err
	}
	defer done()
	gate, err := faultfs.OpenFile(filepath.Join(locks, gateOfLease), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	sw := &sweep{store: s, gate: gate, leases: s.openLeases()}
	// From here on leases stay until the end. Who had one before is in the inventory.
	if err := lockAlone(gate); err != nil {
		return nil, fmt.Errorf("store %s: a collection needs locks, by which runs under way are told: %w", s.dir, err)
	}
	sw.leases.dropDead()
	unlockFile(gate)
	inv, err := s.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	c, err := plan(inv)
	if err != nil {
		return nil, err
	}
	err = sw.run(ctx, inv, c)
	s.SweepAttempts()
	s.sweepLeftovers()
	return sw.done, err
}

// sweep removes what was chosen.
type sweep struct {
	store  *Store
	gate   *faultfs.File
	leases *leases
	done   *Collection
}

// sweepBatch is how many files are removed while runs wait at the gate: a few
// milliseconds' worth.
const sweepBatch = 64

// alone calls act while no process adds to its lease, with the leases as they are.
func (sw *sweep) alone(act func() error) error {
	if err := lockAlone(sw.gate); err != nil {
		return err
	}
	defer unlockFile(sw.gate)
	if err := sw.leases.look(); err != nil {
		return err
	}
	return act()
}

func (sw *sweep) run(ctx context.Context, inv *Inventory, c *Collection) error {
	sw.done = &Collection{Garbage: c.Garbage, Unnamed: c.Unnamed}
	total := c.Left + c.Freed
	defer func() { sw.done.Left = total - sw.done.Freed }()
	s := sw.store
	for batch := range slices.Chunk(c.Records, sweepBatch) {
		err := sw.batch(ctx, func() {
			for _, h := range batch {
				if sw.leases.records[h.Key] {
					sw.done.Spared++
				} else if sw.remove(s.actionPath(h.Key), h.Size) {
					sw.done.Records = append(sw.done.Records, h)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	named := sw.newNamer(inv)
	for batch := range slices.Chunk(c.Blobs, sweepBatch) {
		err := sw.batch(ctx, func() {
			spared := named.update()
			for _, d := range batch {
				if spared[d] || sw.leases.blobs[d] {
					sw.done.Spared++
				} else if sw.remove(s.BlobPath(d), inv.Blobs[d]) {
					sw.done.Blobs = append(sw.done.Blobs, d)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return sw.removeFolders(ctx, inv, c)
}

// batch runs act alone unless the collection is to end.
func (sw *sweep) batch(ctx context.Context, act func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return sw.alone(func() error { act(); return nil })
}

// remove removes a file. One that cannot be removed stays, and is told by what the
// collection has not done.
func (sw *sweep) remove(path string, size int64) bool {
	if err := faultfs.Remove(path); err != nil {
		return false
	}
	sw.done.Freed += size
	return true
}

// namer knows the blobs that leased records name.
type namer struct {
	sweep   *sweep
	records map[Key]*Holding
	counted map[Key]bool
	spared  map[Digest]bool
}

func (sw *sweep) newNamer(inv *Inventory) *namer {
	n := &namer{sweep: sw, records: make(map[Key]*Holding, len(inv.Records)), counted: map[Key]bool{}, spared: map[Digest]bool{}}
	for _, h := range inv.Records {
		n.records[h.Key] = h
	}
	return n
}

func (n *namer) update() map[Digest]bool {
	for k := range n.sweep.leases.records {
		if h := n.records[k]; h != nil && !n.counted[k] {
			n.counted[k] = true
			for _, d := range h.Blobs {
				n.spared[d] = true
			}
		}
	}
	return n.spared
}

// removeFolders removes what is not shared: states that nobody has, attempts that
// were kept, what was found damaged.
func (sw *sweep) removeFolders(ctx context.Context, inv *Inventory, c *Collection) error {
	for _, st := range c.States {
		if err := ctx.Err(); err != nil {
			return err
		}
		unlock, ok, err := lockFile(filepath.Join(sw.store.dir, "locks", st.Key.String()+".state"), true, "")
		if err != nil || !ok {
			sw.done.Spared++
			continue
		}
		if faultfs.RemoveAll(filepath.Join(sw.store.dir, stateDir, st.Key.String())) == nil {
			sw.done.States = append(sw.done.States, st)
			sw.done.Freed += st.Size
		}
		unlock()
	}
	for _, k := range c.Kept {
		removeAll(k.Path)
		sw.done.Kept = append(sw.done.Kept, k)
		sw.done.Freed += k.Size
	}
	if faultfs.RemoveAll(filepath.Join(sw.store.dir, "quarantine")) == nil {
		sw.done.Freed += inv.Quarantine
	}
	return nil
}

// sweepLeftovers removes what killed processes left: locks that nobody has, and files
// that were never renamed to their names.
func (s *Store) sweepLeftovers() {
	locks, _ := faultfs.ReadDir(filepath.Join(s.dir, "locks"))
	for _, e := range locks {
		if !e.IsDir() && e.Name() != gateOfLease && e.Name() != collectName {
			if unlock, ok, err := lockFile(filepath.Join(s.dir, "locks", e.Name()), true, ""); err == nil && ok {
				unlock()
			}
		}
	}
	for _, pattern := range []string{"actions/*", "runs"} {
		temps, _ := filepath.Glob(filepath.Join(s.dir, pattern, atomicfile.TempPrefix+"*"))
		for _, temp := range temps {
			if info, err := faultfs.Lstat(temp); err == nil && time.Since(info.ModTime()) > staleTemp {
				faultfs.Remove(temp)
			}
		}
	}
}
