//go:build unix

package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pipe/cache"
	"pipe/internal/manifest"
)

// Truth is what an undisturbed run of an edition makes.
type Truth struct {
	outputs map[cache.Key]map[string]cache.Object // of every stage
	stages  map[cache.Key]string
	blobs   map[cache.Key][]cache.Digest // of their outputs
	best    manifest.Digest
	grown   string
}

// Undisturbed runs an edition in a toy and returns what it made.
func Undisturbed(t Toy, e Edition) (*Truth, error) {
	if err := t.Edit(e); err != nil {
		return nil, err
	}
	o := t.Run()
	if o.Exit != 0 || len(o.Made) != len(toyStages) {
		return nil, fmt.Errorf("an undisturbed run of edition %d ended with %d: %s", e, o.Exit, o.said())
	}
	truth := &Truth{outputs: map[cache.Key]map[string]cache.Object{}, stages: map[cache.Key]string{}, blobs: map[cache.Key][]cache.Digest{}}
	store, err := cache.OpenToRead(t.storeDir())
	if err != nil {
		return nil, err
	}
	for stage, r := range o.Made {
		truth.outputs[r.Key], truth.stages[r.Key] = r.Outputs, stage
		for _, o := range r.Outputs {
			digests, err := blobsOf(store, o)
			if err != nil {
				return nil, err
			}
			truth.blobs[r.Key] = append(truth.blobs[r.Key], digests...)
		}
	}
	var err1, err2 error
	var grown []byte
	truth.best, err1 = manifest.Folder(t.best())
	grown, err2 = os.ReadFile(t.grown())
	truth.grown = string(grown)
	return truth, errors.Join(err1, err2)
}

func blobsOf(store *cache.Store, o cache.Object) ([]cache.Digest, error) {
	digests := []cache.Digest{o.Digest}
	if o.Kind == cache.File {
		return digests, nil
	}
	entries, err := store.ReadTree(o.Digest)
	for _, e := range entries {
		if e.Mode != 'd' {
			digests = append(digests, e.Digest)
		}
	}
	return digests, err
}

// Truths are those of the editions that a toy has known, the newest last.
type Truths []*Truth

func (all Truths) newest() *Truth { return all[len(all)-1] }

// Served returns an error if a toy shows anything that is not right: at its published
// places or in its store. It may show nothing, or something older. least is how many
// of the truths' publications may no longer be missing: with 1, something is there.
func (all Truths) Served(t Toy, least int) error {
	return errors.Join(all.publishedFile(t, least), all.publishedFolder(t, least), all.stored(t))
}

func (all Truths) publishedFile(t Toy, least int) error {
	b, err := os.ReadFile(t.grown())
	if errors.Is(err, fs.ErrNotExist) && least == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, truth := range all[max(least-1, 0):] {
		if string(b) == truth.grown {
			return nil
		}
	}
	return fmt.Errorf("published file: wrong bytes: %q", b)
}

func (all Truths) publishedFolder(t Toy, least int) error {
	if _, err := os.Lstat(t.best()); errors.Is(err, fs.ErrNotExist) && least == 0 {
		return nil
	}
	got, err := manifest.Folder(t.best())
	if err != nil {
		return fmt.Errorf("published folder: %w", err)
	}
	for _, truth := range all[max(least-1, 0):] {
		if got == truth.best {
			return nil
		}
	}
	return fmt.Errorf("published folder: wrong bytes: %s", listing(t.best()))
}

// stored opens the store as a run would and asks it for all that it has.
func (all Truths) stored(t Toy) error {
	store, err := cache.OpenToRead(t.storeDir())
	if err != nil {
		return err
	}
	var wrong error
	for _, truth := range all {
		for key, outputs := range truth.outputs {
			record, _ := store.Lookup(key)
			if record == nil {
				continue
			}
			for port, want := range outputs {
				if got := record.Outputs[port]; got != want {
					wrong = errors.Join(wrong, fmt.Errorf("%s.%s: record says %v, want %v", truth.stages[key], port, got, want))
				} else if err := serve(store, got, t.Dir+".copy"); err != nil {
					wrong = errors.Join(wrong, fmt.Errorf("%s.%s: %w", truth.stages[key], port, err))
				}
			}
		}
	}
	return wrong
}

// serve takes an object out of the store as pipe get does, and looks at the copy.
func serve(store *cache.Store, o cache.Object, dst string) error {
	if err := store.Verify(o); err != nil {
		if errors.Is(err, cache.ErrDamaged) {
			return nil // and not served
		}
		return err
	}
	defer os.RemoveAll(dst)
	if err := store.Copy(o, dst); err != nil {
		return err
	}
	pin, err := store.PinPath(context.Background(), dst, nil)
	if err == nil && pin.Object != o {
		err = fmt.Errorf("served wrong bytes: %v for %v", pin.Object, o)
	}
	return err
}

// Published returns an error if a toy does not show the newest edition, whole.
func (all Truths) Published(t Toy) error {
	return all.Served(t, len(all))
}

// Clean returns an error if something is left over that only a fault leaves.
func Clean(t Toy) error {
	var left []string
	_ = filepath.WalkDir(t.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		rel, _ := filepath.Rel(t.Dir, path)
		for _, temporary := range []string{".tmp-", ".pipe-place-", ".link-", "a-", "run-"} {
			if strings.HasPrefix(e.Name(), temporary) {
				left = append(left, rel)
			}
		}
		if strings.Contains(rel, ".fresh") {
			left = append(left, rel)
		}
		return nil
	})
	if len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return nil
}

func listing(dir string) string {
	var b bytes.Buffer
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err.Error()
	}
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			text, _ := os.ReadFile(path)
			rel, _ := filepath.Rel(root, path)
			fmt.Fprintf(&b, "%s=%q ", rel, text)
		}
		return nil
	})
	return b.String()
}
