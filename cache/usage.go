package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// Inventory is what lies in a store, as it was found. A store that is in use changes
// meanwhile.
type Inventory struct {
	Records []*Holding // in the order in which they were made
	Blobs   map[Digest]int64
	States  []StateUse
	Kept    []KeptAttempt // attempts that failed and were kept
	// Unlisted are the trees whose manifests cannot be read, so that their files are not
	// known.
	Unlisted map[Digest]bool

	History    int64 // the histories of runs, in bytes
	Quarantine int64
	Attempts   int64 // of stages that run, and what killed ones left
	Others     int64 // indexes, locks

	store *Store
	trees map[Digest][]Digest
}

// Holding is a record with all that it names.
type Holding struct {
	*Record
	Size  int64    // of the record's own file
	Blobs []Digest // manifests and files of outputs and attachments, log, pre-image; each once
}

// KeptAttempt is the folder of an attempt that somebody wanted to look into.
type KeptAttempt struct {
	Path    string
	Size    int64
	Changed time.Time
}

// Exists says whether the store is on disk.
func (s *Store) Exists() bool { return !s.absent }

// Inventory lists what lies in the store. Files of blobs are not read but for the
// manifests of trees. What is damaged counts as absent; what cannot be read at all is
// an error, because what it names is not known.
func (s *Store) Inventory(ctx context.Context) (*Inventory, error) {
	inv := &Inventory{Blobs: map[Digest]int64{}, Unlisted: map[Digest]bool{}, store: s, trees: map[Digest][]Digest{}}
	if s.absent {
		return inv, nil
	}
	if err := inv.addBlobs(); err != nil {
		return nil, err
	}
	if err := inv.addRecords(ctx); err != nil {
		return nil, err
	}
	var err error
	if inv.States, err = s.states(); err != nil {
		return nil, err
	}
	inv.addRest()
	return inv, ctx.Err()
}

// Total is the size of all that lies in the store, in bytes.
func (inv *Inventory) Total() int64 {
	total := inv.History + inv.Quarantine + inv.Attempts + inv.Others
	for _, size := range inv.Blobs {
		total += size
	}
	for _, h := range inv.Records {
		total += h.Size
	}
	for _, st := range inv.States {
		total += st.Size
	}
	for _, k := range inv.Kept {
		total += k.Size
	}
	return total
}

// eachShard calls visit with every file below a folder whose files lie in ab/ab….
// A folder that cannot be read is left to failed.
func (s *Store) eachShard(dir string, failed func(path string, err error) error, visit func(path string, e os.DirEntry) error) error {
	top := filepath.Join(s.dir, dir)
	shards, err := faultfs.ReadDir(top)
	if err != nil {
		return failed(top, err)
	}
	for _, shard := range shards {
		if !shard.IsDir() {
			continue // a temporary file
		}
		at := filepath.Join(top, shard.Name())
		files, err := faultfs.ReadDir(at)
		if err != nil {
			if err := failed(at, err); err != nil {
				return err
			}
		}
		for _, f := range files {
			if err := visit(filepath.Join(at, f.Name()), f); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveUp is for eachShard: what cannot be read ends it.
func giveUp(_ string, err error) error { return err }

func (inv *Inventory) addBlobs() error {
	return inv.store.eachShard("blobs", giveUp, func(_ string, e os.DirEntry) error {
		d, err := manifest.ParseDigest(e.Name())
		if err != nil {
			return nil // a temporary file
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			inv.Blobs[d] = info.Size()
		}
		return err
	})
}

func (inv *Inventory) addRecords(ctx context.Context) error {
	err := inv.store.eachShard("actions", giveUp, func(path string, e os.DirEntry) error {
		var k Key
		if k.UnmarshalText([]byte(e.Name())) != nil || ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := faultfs.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := ParseRecord(b)
		if err != nil || r.Key != k {
			return nil
		}
		h := &Holding{Record: r, Size: int64(len(b))}
		if h.Blobs, err = inv.blobsOf(r); err != nil {
			return fmt.Errorf("record %s: %w", k.Short(), err)
		}
		inv.Records = append(inv.Records, h)
		return nil
	})
	slices.SortFunc(inv.Records, func(a, b *Holding) int { return a.Made.Time.Compare(b.Made.Time) })
	return err
}

// blobsOf lists what a record names.
func (inv *Inventory) blobsOf(r *Record) ([]Digest, error) {
	all := map[Digest]bool{}
	for _, objects := range []map[string]Object{r.Outputs, r.Attachments} {
		for _, o := range objects {
			list, err := inv.Expand(o)
			if err != nil {
				return nil, err
			}
			if _, err := faultfs.Lstat(inv.store.BlobPath(o.Digest)); err != nil && o.Kind == Tree {
				inv.Unlisted[o.Digest] = true
			}
			for _, d := range list {
				all[d] = true
			}
		}
	}
	for _, d := range []*Digest{r.Log, r.Preimage} {
		if d != nil {
			all[*d] = true
		}
	}
	return slices.Collect(maps.Keys(all)), nil
}

// Expand lists the blobs of an object: of a tree its manifest and its files, unless it
// is Unlisted.
func (inv *Inventory) Expand(o Object) ([]Digest, error) {
	if o.Kind == File {
		return []Digest{o.Digest}, nil
	}
	if list, ok := inv.trees[o.Digest]; ok {
		return list, nil
	}
	list := []Digest{o.Digest}
	if _, there := inv.Blobs[o.Digest]; there {
		b, err := faultfs.ReadFile(inv.store.BlobPath(o.Digest))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		entries, err := manifest.Parse(b)
		if err != nil || manifest.Sum(b) != o.Digest {
			entries, inv.Unlisted[o.Digest] = nil, true
		}
		for _, e := range entries {
			if e.Mode != 'd' {
				list = append(list, e.Digest)
			}
		}
	}
	inv.trees[o.Digest] = list
	return list, nil
}

// addRest sizes up what is neither blob, record nor state.
func (inv *Inventory) addRest() {
	dir := inv.store.dir
	inv.History, _ = folderUse(filepath.Join(dir, "runs"))
	inv.Quarantine, _ = folderUse(filepath.Join(dir, "quarantine"))
	attempts, _ := faultfs.ReadDir(filepath.Join(dir, "attempts"))
	for _, e := range attempts {
		path := filepath.Join(dir, "attempts", e.Name())
		size, changed := attemptUse(path)
		if isKept(path) {
			inv.Kept = append(inv.Kept, KeptAttempt{Path: path, Size: size, Changed: changed})
		} else {
			inv.Attempts += size
		}
	}
	for _, name := range []string{"stat.idx", "verified.idx"} {
		if info, err := faultfs.Stat(filepath.Join(dir, name)); err == nil {
			inv.Others += info.Size()
		}
	}
	locks, _ := folderUse(filepath.Join(dir, "locks"))
	inv.Others += locks
}

// attemptUse is folderUse without the inputs, which are links to blobs.
func attemptUse(dir string) (size int64, changed time.Time) {
	for _, sub := range []string{"out", "scratch", "attach"} {
		n, at := folderUse(filepath.Join(dir, sub))
		size += n
		if at.After(changed) {
			changed = at
		}
	}
	return size, changed
}
