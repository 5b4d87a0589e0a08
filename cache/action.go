package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

func (s *Store) actionPath(k Key) string { return s.sharded("actions", k) }

// ReadRecord returns the record of a key, whether or not its objects are there.
func (s *Store) ReadRecord(k Key) (*Record, error) {
	b, err := faultfs.ReadSmall(s.actionPath(k))
	if err != nil {
		return nil, err
	}
	r, err := ParseRecord(b)
	if err == nil && r.Key != k {
		err = fmt.Errorf(recordError+"it is that of %s", r.Key.Short())
	}
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", k.Short(), err)
	}
	return r, nil
}

// Lookup returns the record of a key, or nil if there is none that can be used: a
// record that is damaged, or whose objects are not all there, counts as absent,
// and why says so. why is empty where nothing is known of the key.
func (s *Store) Lookup(k Key) (r *Record, why string) {
	s.using(leasedRecord, k)
	r, err := s.ReadRecord(k)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ""
	}
	if err != nil {
		return nil, err.Error()
	}
	for port, o := range r.Outputs {
		err := s.usable(o)
		switch {
		case errors.Is(err, errAbsent):
			return nil, fmt.Sprintf("output %s is no longer in the store", port)
		case err != nil:
			return nil, fmt.Sprintf("output %s: %v", port, err)
		}
	}
	return r, ""
}

// errAbsent is the error for an object of which a blob is not there, with its size.
var errAbsent = errors.New("it is not all there")

// usable is nil for an object whose blobs are all there and are as this store last verified
// them, each looked at once. What changed is verified. Nothing else is read: enough for a
// hit whose bytes nobody is about to use.
func (s *Store) usable(o Object) error {
	blobs, err := s.blobsOf(o)
	if err != nil {
		return errAbsent
	}
	var damaged error
	for _, e := range blobs {
		info, err := faultfs.Lstat(s.BlobPath(e.Digest))
		if err != nil || !info.Mode().IsRegular() || e.Size >= 0 && info.Size() != e.Size {
			return errAbsent
		}
		if s.verified.changedFrom(info) {
			damaged = errors.Join(damaged, s.VerifyBlob(e.Digest))
		}
	}
	return damaged
}

// verifyChanged verifies the blobs of an object that changed since this store last
// verified them, and moves away what is damaged.
func (s *Store) verifyChanged(o Object) error {
	blobs, err := s.blobsOf(o)
	if err != nil {
		return err
	}
	var damaged error
	for _, e := range blobs {
		if info, err := faultfs.Lstat(s.BlobPath(e.Digest)); err != nil || s.verified.changedFrom(info) {
			damaged = errors.Join(damaged, s.VerifyBlob(e.Digest))
		}
	}
	return damaged
}

// blobsOf lists the blobs of an object, with their sizes; -1 is any.
func (s *Store) blobsOf(o Object) ([]manifest.Entry, error) {
	if o.Kind == File {
		return []manifest.Entry{{Digest: o.Digest, Size: o.Size}}, nil
	}
	entries, err := s.ReadTree(o.Digest)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e manifest.Entry) bool { return e.Mode == 'd' })
	return append(entries, manifest.Entry{Digest: o.Digest, Size: -1}), nil
}

// Commit stores a record; it is the last act of a stage. If another process has
// committed the key before, its record is kept and returned, unless replace is
// set.
func (s *Store) Commit(r *Record, replace bool) (*Record, error) {
	b, err := EncodeRecord(r)
	if err != nil {
		return nil, err
	}
	s.using(leasedRecord, r.Key)
	place := s.actionPath(r.Key)
	if err := s.shardDir(place); err != nil {
		return nil, err
	}
	if !replace {
		if first, _ := s.Lookup(r.Key); first != nil {
			return first, nil
		}
	}
	return r, atomicfile.Write(place, b, 0o444)
}

// NewAttempt makes a private folder for one attempt at a stage. It is locked for
// the life of this process, so that a later run can tell it from one that was
// left behind; release removes it.
func (s *Store) NewAttempt() (dir string, release func(), err error) {
	// Another process may sweep the folder away before it is locked.
	const tries = 10
	for range tries {
		if dir, err = faultfs.MkdirTemp(filepath.Join(s.dir, "attempts"), "a-"); err != nil {
			return "", nil, err
		}
		unlock, ok, lockErr := lockFile(filepath.Join(dir, ".lock"), false, "")
		if lockErr == nil && ok {
			return dir, func() {
				removeAll(dir)
				unlock()
			}, nil
		}
		faultfs.RemoveAll(dir)
		err = lockErr
	}
	return "", nil, fmt.Errorf("attempt folder cannot be locked: %w", err)
}

// SweepAttempts removes the attempt folders that no living process owns, but for
// those that were kept.
func (s *Store) SweepAttempts() {
	dirs, _ := filepath.Glob(filepath.Join(s.dir, "attempts", "a-*"))
	for _, dir := range dirs {
		if isKept(dir) {
			continue
		}
		if unlock, ok, err := lockFile(filepath.Join(dir, ".lock"), false, ""); err == nil && ok {
			removeAll(dir)
			unlock()
		}
	}
	temps, _ := filepath.Glob(filepath.Join(s.dir, "blobs", ".tmp-*"))
	for _, temp := range temps {
		if info, err := faultfs.Stat(temp); err == nil && time.Since(info.ModTime()) > staleTemp {
			faultfs.Remove(temp)
		}
	}
}

// staleTemp is when a temporary blob counts as left behind: longer than any single
// file takes to write.
const staleTemp = 24 * time.Hour

// removeAll removes a folder even if a stage took its own permissions away.
func removeAll(dir string) {
	if faultfs.RemoveAll(dir) == nil {
		return
	}
	filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			faultfs.Chmod(p, 0o700)
		}
		return nil
	})
	faultfs.RemoveAll(dir)
}
