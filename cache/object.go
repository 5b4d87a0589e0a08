package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// ObjectKind is what an Object is.
type ObjectKind string

const (
	File ObjectKind = "file"
	Tree ObjectKind = "tree"
)

// Object is a file or a folder in the store.
type Object struct {
	Kind   ObjectKind `json:"kind"`
	Digest Digest     `json:"digest"`
	Size   int64      `json:"size"` // of all files, in bytes
}

// Put moves the file or folder at path, which must lie on the store's file
// system, into the store. Links to files are stored as the files.
func (s *Store) Put(ctx context.Context, path string) (Object, error) {
	info, err := faultfs.Stat(path)
	if err != nil {
		return Object{}, err
	}
	put := s.putOutput
	if at, err := faultfs.Lstat(path); err == nil && at.Mode()&os.ModeSymlink != 0 {
		put = s.putCopy // what a link leads to belongs to somebody else
	}
	if info.Mode().IsRegular() {
		d, size, err := put(ctx, path)
		return Object{Kind: File, Digest: d, Size: size}, err
	}
	if !info.IsDir() {
		return Object{}, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	var entries []manifest.Entry
	var total int64
	err = manifest.Walk(path, func(rel string, mode byte) error {
		if mode == 'd' {
			entries = append(entries, manifest.Entry{Path: rel, Mode: 'd'})
			return nil
		}
		d, size, err := put(ctx, filepath.Join(path, filepath.FromSlash(rel)))
		entries = append(entries, manifest.Entry{Path: rel, Mode: mode, Digest: d, Size: size})
		total += size
		return err
	})
	if err != nil {
		return Object{}, err
	}
	d, err := s.PutBytes(manifest.Encode(entries))
	return Object{Kind: Tree, Digest: d, Size: total}, err
}

// putOutput moves a file in; what has other names or is a link is copied, so that a
// stage cannot move away what is not its own.
func (s *Store) putOutput(ctx context.Context, path string) (Digest, int64, error) {
	info, err := faultfs.Lstat(path)
	if err != nil {
		return Digest{}, 0, err
	}
	if info.Mode().IsRegular() && linkCount(info) == 1 {
		return s.PutFile(ctx, path)
	}
	return s.putCopy(ctx, path)
}

func (s *Store) putCopy(ctx context.Context, path string) (Digest, int64, error) {
	f, err := faultfs.Open(path)
	if err != nil {
		return Digest{}, 0, err
	}
	defer f.Close()
	counted := &countingReader{ctx: ctx, r: f}
	d, err := s.putFrom(counted)
	return d, counted.n, err
}

// countingReader counts what is read, and ends with its context.
type countingReader struct {
	ctx context.Context
	r   io.Reader
	n   int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// ReadTree returns the entries of a tree.
func (s *Store) ReadTree(d Digest) ([]manifest.Entry, error) {
	list, err := s.ReadBlob(d)
	if err != nil {
		return nil, err
	}
	return manifest.Parse(list)
}

// Has says whether every blob of an object is there, with its size.
func (s *Store) Has(o Object) bool {
	blobs, err := s.blobsOf(o)
	return err == nil && !slices.ContainsFunc(blobs, func(e manifest.Entry) bool { return !s.hasBlob(e.Digest, e.Size) })
}

// Verify checks every blob of an object. Damaged ones are moved to quarantine;
// the error is then ErrDamaged.
func (s *Store) Verify(o Object) error {
	if o.Kind == File {
		return s.VerifyBlob(o.Digest)
	}
	if err := s.VerifyBlob(o.Digest); err != nil {
		return err
	}
	entries, err := s.ReadTree(o.Digest)
	if err != nil {
		return err
	}
	var damaged error
	for _, e := range entries {
		if e.Mode != 'd' {
			damaged = errors.Join(damaged, s.VerifyBlob(e.Digest))
		}
	}
	return damaged
}

// Materialize makes the object at dst, which must not exist, out of hard links
// to the store's read-only files, or copies where links are not to be had.
func (s *Store) Materialize(o Object, dst string) error {
	return s.restore(o, dst, func(src, dst string, executable bool) error {
		if executable { // which a blob, and so a link to it, is not
			return copyFile(src, dst, 0o555)
		}
		if s.verified.relink(src, func() error { return faultfs.Link(src, dst) }) == nil {
			return nil
		}
		return copyFile(src, dst, 0o444)
	})
}

// Dematerialize removes what Materialize made. It returns ErrDamaged if a blob was
// written to meanwhile; the blob is then in quarantine.
func (s *Store) Dematerialize(o Object, dst string) error {
	damaged := s.verifyChanged(o)
	files, err := s.filesOf(o)
	if err != nil {
		return errors.Join(damaged, err)
	}
	for _, f := range files {
		name := filepath.Join(dst, filepath.FromSlash(f.Path))
		// A stage may have moved it; what is left goes with the folder.
		_ = s.verified.relink(s.BlobPath(f.Digest), func() error { return faultfs.Remove(name) })
	}
	return errors.Join(damaged, faultfs.RemoveAll(dst))
}

// filesOf lists the files of an object. That of a file is called ".".
func (s *Store) filesOf(o Object) ([]manifest.Entry, error) {
	if o.Kind == File {
		return []manifest.Entry{{Path: ".", Digest: o.Digest}}, nil
	}
	entries, err := s.ReadTree(o.Digest)
	return slices.DeleteFunc(entries, func(e manifest.Entry) bool { return e.Mode == 'd' }), err
}

// Copy makes a private, writable copy of the object at dst, which must not exist,
// and syncs it.
func (s *Store) Copy(o Object, dst string) error {
	err := s.restore(o, dst, func(src, dst string, executable bool) error {
		if executable {
			return copyFile(src, dst, 0o777)
		}
		return copyFile(src, dst, 0o666)
	})
	if err == nil && o.Kind == Tree {
		err = syncFolders(dst)
	}
	return err
}

// syncFolders makes the names in a folder and in those below it last.
func syncFolders(root string) error {
	return filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = atomicfile.SyncDir(path)
		}
		return err
	})
}

// Place puts a private, writable copy of the object at path: complete or not at all,
// also if the process dies. What is at path is replaced if it is a file; a folder
// must not be there.
func (s *Store) Place(o Object, path string) error {
	if err := atomicfile.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	sweepPlaces(filepath.Dir(path))
	temp, err := faultfs.MkdirTemp(filepath.Dir(path), placePrefix)
	if err != nil {
		return err
	}
	defer faultfs.RemoveAll(temp)
	fresh := filepath.Join(temp, "copy")
	if err := s.Copy(o, fresh); err != nil {
		return err
	}
	if err := faultfs.Rename(fresh, path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// placePrefix begins the names of folders in which copies are made ready.
const placePrefix = ".pipe-place-"

// sweepPlaces removes what a killed Place left beside a place.
func sweepPlaces(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, placePrefix+"*"))
	for _, path := range left {
		if info, err := faultfs.Lstat(path); err == nil && time.Since(info.ModTime()) > staleTemp {
			faultfs.RemoveAll(path)
		}
	}
}

func (s *Store) restore(o Object, dst string, place func(src, dst string, executable bool) error) error {
	if o.Kind == File {
		return place(s.BlobPath(o.Digest), dst, false)
	}
	entries, err := s.ReadTree(o.Digest)
	if err != nil {
		return err
	}
	if err := faultfs.Mkdir(dst, 0o777); err != nil {
		return err
	}
	made := map[string]bool{}
	for _, e := range entries {
		target := filepath.Join(dst, filepath.FromSlash(e.Path))
		dir := filepath.Dir(target)
		if e.Mode == 'd' {
			dir = target
		}
		if !made[dir] {
			if err := faultfs.MkdirAll(dir, 0o777); err != nil {
				return err
			}
			made[dir] = true
		}
		if e.Mode == 'd' {
			continue
		}
		if err := place(s.BlobPath(e.Digest), target, e.Mode == 'x'); err != nil {
			return err
		}
	}
	return nil
}
