package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// Bad is something in a store that is not what its name says, or is not there.
type Bad struct {
	What string `json:"what"` // "blob", "tree", "record", "state", "folder"; callers may add more
	Name string `json:"name"` // its digest or key
	Path string `json:"path"` // absolute
	Why  string `json:"why"`

	Named []Naming `json:"named,omitempty"` // the records that name it
}

// Naming is how a record names an object.
type Naming struct {
	Key  Key    `json:"key"`
	Kind string `json:"kind"` // of the stage
	As   string `json:"as"`   // "output tokens", "attachment timing.json", "log", "pre-image"
}

// IsOutput says whether the object is part of the result and not something that is
// kept beside it.
func (n Naming) IsOutput() bool { return strings.HasPrefix(n.As, asOutput) }

const (
	asOutput     = "output "
	asAttachment = "attachment "
	asLog        = "log"
	asPreimage   = "pre-image"
)

// Check is what was looked at in a store, and what is wrong.
type Check struct {
	Records int
	Objects int   // blobs, and commits of states
	Bytes   int64 // of them
	All     int64 // of those that there are
	Busy    int   // states that a run has, which were not looked at
	Bad     []Bad
}

// CheckOptions say how much of a store is looked at. Records are looked at all.
type CheckOptions struct {
	// Sample returns how many bytes are to be read of so many; nil is all. Which
	// ones is left to chance.
	Sample   func(all int64) int64
	Wanted   func(k Key) bool      // limits it to these records and what they name; nil is all
	Progress func(done, all int64) // called now and then, from any goroutine
}

// CheckAll reads the store and finds all that is not what its name says; what it knows
// of earlier checks does not count. It moves nothing away: what is bad is found bad
// again when it is next used. What cannot be read is bad, and does not end the check.
func (s *Store) CheckAll(ctx context.Context, o CheckOptions) (*Check, error) {
	c := &checker{store: s, check: &Check{}, wanted: o.Wanted, named: map[Digest][]Naming{}, trees: map[Digest]bool{}}
	if s.absent {
		return c.check, nil
	}
	if err := c.records(ctx); err != nil {
		return nil, err
	}
	items := c.blobs()
	items = append(items, c.states()...)
	for _, it := range items {
		c.check.All += it.size
	}
	if o.Sample != nil {
		rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		items = sampled(items, o.Sample(c.check.All))
	}
	c.run(ctx, items, o.Progress)
	slices.SortFunc(c.check.Bad, func(a, b Bad) int { return strings.Compare(a.What+a.Name, b.What+b.Name) })
	return c.check, ctx.Err()
}

// checker is a check under way.
type checker struct {
	store  *Store
	wanted func(k Key) bool
	named  map[Digest][]Naming
	trees  map[Digest]bool

	mu    sync.Mutex // guards check
	check *Check
}

// checkItem is something to be read.
type checkItem struct {
	size  int64
	check func()
}

// sampled returns the first items that have so many bytes together, and one at least.
func sampled(items []checkItem, most int64) []checkItem {
	var sum int64
	for i, it := range items {
		if sum += it.size; sum >= most {
			return items[:i+1]
		}
	}
	return items
}

func (c *checker) bad(b Bad) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.check.Bad = append(c.check.Bad, b)
}

func (c *checker) unreadable(path string, err error) error {
	c.bad(Bad{What: "folder", Name: filepath.Base(path), Path: path, Why: reason(err)})
	return nil
}

// reason is an error without the path, which stands beside it.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// records checks all records, and finds out what they name.
func (c *checker) records(ctx context.Context) error {
	return c.store.eachShard("actions", c.unreadable, func(path string, e os.DirEntry) error {
		var k Key
		if k.UnmarshalText([]byte(e.Name())) != nil || ctx.Err() != nil {
			return ctx.Err() // a temporary file
		}
		if c.wanted != nil && !c.wanted(k) {
			return nil
		}
		c.check.Records++
		r, err := c.store.ReadRecord(k)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			why := reason(err)
			if _, after, ok := strings.Cut(why, recordError); ok {
				why = after // which record it is stands beside it
			}
			c.bad(Bad{What: "record", Name: k.String(), Path: path, Why: "cannot be read: " + why})
			return nil
		}
		for port, o := range r.Outputs {
			c.name(o, Naming{r.Key, r.Kind, asOutput + port})
		}
		for name, o := range r.Attachments {
			c.name(o, Naming{r.Key, r.Kind, asAttachment + name})
		}
		for as, d := range map[string]*Digest{asLog: r.Log, asPreimage: r.Preimage} {
			if d != nil {
				c.named[*d] = append(c.named[*d], Naming{r.Key, r.Kind, as})
			}
		}
		return nil
	})
}

// name notes that a record names an object and, if it is a tree, its files.
func (c *checker) name(o Object, n Naming) {
	c.named[o.Digest] = append(c.named[o.Digest], n)
	if o.Kind == File {
		return
	}
	c.trees[o.Digest] = true
	b, err := faultfs.ReadFile(c.store.BlobPath(o.Digest))
	if err != nil || manifest.Sum(b) != o.Digest {
		return // it is found bad when the blobs are read
	}
	entries, err := manifest.Parse(b)
	if err != nil {
		c.bad(Bad{What: "tree", Name: o.Digest.String(), Path: c.store.BlobPath(o.Digest), Why: err.Error(), Named: []Naming{n}})
	}
	for _, e := range entries {
		if e.Mode != 'd' {
			c.named[e.Digest] = append(c.named[e.Digest], n)
		}
	}
}

// blobs lists the blobs that there are, and finds those that there should be.
func (c *checker) blobs() []checkItem {
	var items []checkItem
	there := map[Digest]bool{}
	_ = c.store.eachShard("blobs", c.unreadable, func(path string, e os.DirEntry) error {
		d, err := manifest.ParseDigest(e.Name())
		if err != nil {
			return nil // a temporary file
		}
		there[d] = true
		if c.wanted != nil && len(c.named[d]) == 0 {
			return nil
		}
		var size int64
		if info, err := e.Info(); err == nil {
			size = info.Size()
		}
		items = append(items, checkItem{size, func() { c.blob(d, path) }})
		return nil
	})
	for d := range c.named {
		if !there[d] {
			c.missing(d)
		}
	}
	return items
}

// missing notes a blob that a record names and that is not there, unless it has come
// meanwhile or the record has gone.
func (c *checker) missing(d Digest) {
	named := slices.DeleteFunc(slices.Clone(c.named[d]), func(n Naming) bool {
		_, err := faultfs.Lstat(c.store.actionPath(n.Key))
		return err != nil
	})
	path := c.store.BlobPath(d)
	if _, err := faultfs.Lstat(path); err != nil && len(named) > 0 {
		c.bad(Bad{What: c.what(d), Name: d.String(), Path: path, Why: "is missing", Named: named})
	}
}

func (c *checker) what(d Digest) string {
	if c.trees[d] {
		return "tree"
	}
	return "blob"
}

func (c *checker) blob(d Digest, path string) {
	got, err := hashFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.missing(d)
	case err != nil:
		c.store.verified.forget(path)
		c.bad(Bad{What: c.what(d), Name: d.String(), Path: path, Why: "cannot be read: " + reason(err), Named: c.named[d]})
	case got != d:
		c.store.verified.forget(path)
		c.bad(Bad{What: c.what(d), Name: d.String(), Path: path, Why: "has the bytes of " + got.Short(), Named: c.named[d]})
	default:
		c.store.verified.put(path, d)
	}
}

// forget has the file at path read again when it is next used.
func (x *statIndex) forget(path string) {
	id, _, err := statFile(path)
	if err != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fresh[id] = statEntry{} // no file has that stamp
	x.changed = true
}

// states lists the states, each to be checked with all its commits.
func (c *checker) states() []checkItem {
	states, err := c.store.states()
	if err != nil {
		_ = c.unreadable(filepath.Join(c.store.dir, stateDir), err)
	}
	var items []checkItem
	for _, u := range states {
		if c.wanted == nil || c.wanted(u.About.Key) {
			items = append(items, checkItem{u.Size, func() { c.state(u) }})
		}
	}
	return items
}

// state checks the commits of a state that no run has.
func (c *checker) state(u StateUse) {
	unlock, ok, err := lockFile(filepath.Join(c.store.dir, "locks", u.Key.String()+".state"), true, "")
	if err == nil && !ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.check.Busy++
		return
	}
	if err == nil {
		defer unlock()
	}
	st := &State{dir: filepath.Join(c.store.dir, stateDir, u.Key.String())}
	commits, err := st.commits()
	if err != nil {
		_ = c.unreadable(st.dir, err)
	}
	for _, n := range commits {
		if err := checkCommit(st.commit(n), nil); err != nil {
			b := Bad{What: "state", Name: u.Key.String(), Path: st.commit(n), Why: strings.TrimPrefix(reason(err), "state: ")}
			if u.About.Kind != "" {
				b.Named = []Naming{{u.About.Key, u.About.Kind, "state"}}
			}
			c.bad(b)
		}
	}
}

// run checks items, as many at once as there are processors.
func (c *checker) run(ctx context.Context, items []checkItem, progress func(done, all int64)) {
	var all int64
	for _, it := range items {
		all += it.size
	}
	c.check.Objects, c.check.Bytes = len(items), all
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(items)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(items)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				items[i].check()
				if n := done.Add(items[i].size); progress != nil {
					progress(n, all)
				}
			}
		})
	}
	wg.Wait()
}

// Remove moves what is bad out of the way, so that it counts as absent. What is
// missing is left alone.
func (s *Store) Remove(b Bad) error {
	var err error
	switch b.What {
	case "folder":
		return fmt.Errorf("%s: %s", b.Path, b.Why)
	case "state":
		err = faultfs.RemoveAll(b.Path)
	default:
		err = s.quarantine(b.Path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RemoveRecord moves a record away; its key is unknown afterwards.
func (s *Store) RemoveRecord(k Key) error { return s.quarantine(s.actionPath(k)) }

// Measure returns the object that Put would make of the file or folder at path, and a
// folder's entries. Every byte is read; nothing is stored.
func Measure(ctx context.Context, path string) (Object, []manifest.Entry, error) {
	info, err := faultfs.Stat(path)
	if err != nil {
		return Object{}, nil, err
	}
	if !info.IsDir() {
		d, size, err := measureFile(ctx, path)
		return Object{Kind: File, Digest: d, Size: size}, nil, err
	}
	o := Object{Kind: Tree}
	var entries []manifest.Entry
	err = manifest.Walk(path, func(rel string, mode byte) error {
		e := manifest.Entry{Path: rel, Mode: mode}
		var err error
		if mode != 'd' {
			e.Digest, e.Size, err = measureFile(ctx, filepath.Join(path, filepath.FromSlash(rel)))
		}
		o.Size += e.Size
		entries = append(entries, e)
		return err
	})
	o.Digest = manifest.Sum(manifest.Encode(entries))
	return o, entries, err
}

func measureFile(ctx context.Context, path string) (Digest, int64, error) {
	f, err := faultfs.Open(path)
	if err != nil {
		return Digest{}, 0, err
	}
	defer f.Close()
	counted := &countingReader{ctx: ctx, r: f}
	h := sha256.New()
	_, err = io.Copy(h, counted)
	return Digest(h.Sum(nil)), counted.n, err
}

// Forget has a record no longer name a log, a pre-image or an attachment. Its outputs
// stay.
func (s *Store) Forget(k Key, d Digest) error {
	r, err := s.ReadRecord(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Log != nil && *r.Log == d {
		r.Log = nil
	}
	if r.Preimage != nil && *r.Preimage == d {
		r.Preimage = nil
	}
	for name, o := range r.Attachments {
		if o.Digest == d || o.Kind == Tree && !s.Has(o) {
			delete(r.Attachments, name)
		}
	}
	_, err = s.Commit(r, true)
	return err
}
