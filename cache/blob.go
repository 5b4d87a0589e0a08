package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// ErrDamaged is the error for an object whose bytes are not what its name says,
// or that is not there. The object has been moved out of the way.
var ErrDamaged = errors.New("object is damaged or missing")

// BlobPath is where a blob lies. The file must not be changed.
func (s *Store) BlobPath(d Digest) string { return s.sharded("blobs", d) }

// hasBlob says whether a blob of that size is there. size < 0 is any.
func (s *Store) hasBlob(d Digest, size int64) bool {
	info, err := faultfs.Lstat(s.BlobPath(d))
	return err == nil && info.Mode().IsRegular() && (size < 0 || info.Size() == size)
}

// PutBytes stores b and returns its digest.
func (s *Store) PutBytes(b []byte) (Digest, error) {
	d := manifest.Sum(b)
	if s.trusted(d, int64(len(b))) {
		return d, nil
	}
	return s.putFrom(bytes.NewReader(b))
}

// trusted says whether a stored blob need not be written again: it is there and
// was verified since it last changed.
func (s *Store) trusted(d Digest, size int64) bool {
	s.using(leasedBlob, d)
	return s.hasBlob(d, size) && s.VerifyBlob(d) == nil
}

// putFrom stores all that r gives, hashing while it writes.
func (s *Store) putFrom(r io.Reader) (Digest, error) { return s.putBy(s.adopt, r) }

// putBy is putFrom with another adopt.
func (s *Store) putBy(adopt func(path string, d Digest) error, r io.Reader) (Digest, error) {
	f, err := atomicfile.CreateTemp(filepath.Join(s.dir, "blobs"), 0o444)
	if err != nil {
		return Digest{}, err
	}
	defer faultfs.Remove(f.Name()) // after the rename there is nothing to remove
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(h, f), r)
	if err := atomicfile.CloseSynced(f, err); err != nil {
		return Digest{}, err
	}
	d := Digest(h.Sum(nil))
	return d, adopt(f.Name(), d)
}

// adopt renames a complete, synced file to the blob's place, for good.
func (s *Store) adopt(path string, d Digest) error {
	if err := s.moveIn(path, d); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(s.BlobPath(d)))
}

// moveIn is adopt for many: the folders of the blobs are still to be synced.
func (s *Store) moveIn(path string, d Digest) error {
	s.using(leasedBlob, d)
	place := s.BlobPath(d)
	if err := s.shardDir(place); err != nil {
		return err
	}
	if err := faultfs.Rename(path, place); err != nil {
		return err
	}
	s.verified.put(place, d)
	return nil
}

// PutFile moves a file into the store, or copies it where it cannot be moved. The
// file must be on the store's file system to be moved; afterwards it is gone from
// its place.
func (s *Store) PutFile(ctx context.Context, path string) (Digest, int64, error) {
	f, err := faultfs.Open(path)
	if err != nil {
		return Digest{}, 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err := copyContext(ctx, h, f)
	if err != nil {
		return Digest{}, 0, err
	}
	d := Digest(h.Sum(nil))
	if s.trusted(d, size) {
		return d, size, faultfs.Remove(path)
	}
	if err := f.Sync(); err != nil {
		return Digest{}, 0, err
	}
	if err := f.Chmod(0o444); err != nil {
		return Digest{}, 0, err
	}
	return d, size, s.adopt(path, d)
}

// copyChunk is how often a copy looks at its context.
const copyChunk = 1 << 20

func copyContext(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, copyChunk)
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return total, werr
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// VerifyBlob checks a blob's bytes against its name. A blob that did not change
// since it was verified in this boot of the machine is not read again. A bad one
// is moved to quarantine; the error is then ErrDamaged. One that this
// process may not open is left alone.
func (s *Store) VerifyBlob(d Digest) error {
	path := s.BlobPath(d)
	if known, ok := s.verified.lookup(path); ok && known == d {
		return nil
	}
	got, err := hashRegular(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("blob %s: %w", d.Short(), ErrDamaged)
	case err == nil && got == d:
		s.verified.put(path, d)
		return nil
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, os.ErrPermission): // which says nothing about the bytes
		return fmt.Errorf("blob %s: %w", d.Short(), err)
	}
	damaged := fmt.Errorf("blob %s: %w", d.Short(), ErrDamaged)
	if err != nil {
		damaged = fmt.Errorf("%w: %w", damaged, err)
	}
	if qerr := s.quarantine(path); qerr != nil {
		return fmt.Errorf("blob %s is damaged and cannot be moved away: %w", d.Short(), qerr)
	}
	return damaged
}

func (s *Store) quarantine(path string) error {
	dir := filepath.Join(s.dir, "quarantine")
	if err := faultfs.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	err := faultfs.Rename(path, filepath.Join(dir, fmt.Sprintf("%s-%016x", filepath.Base(path), rand.Uint64())))
	if errors.Is(err, os.ErrNotExist) { // somebody else has moved it
		return nil
	}
	return err
}

// hashRegular is hashFile for what may be anything: a link to a device has no end. What
// is no regular file has no digest.
func hashRegular(path string) (Digest, error) {
	info, err := faultfs.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return Digest{}, err
	}
	return hashFile(path)
}

func hashFile(path string) (Digest, error) {
	f, err := faultfs.Open(path)
	if err != nil {
		return Digest{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, copyChunk)); err != nil {
		return Digest{}, err
	}
	return Digest(h.Sum(nil)), nil
}

// ReadBlob returns a verified blob's bytes.
func (s *Store) ReadBlob(d Digest) ([]byte, error) {
	b, err := faultfs.ReadFile(s.BlobPath(d))
	if err != nil || manifest.Sum(b) != d {
		if verr := s.VerifyBlob(d); verr != nil {
			return nil, verr
		}
		return nil, err
	}
	return b, nil
}

// PutCompressed stores b as a zstd frame. The frame is decoded and compared first:
// klauspost/compress has written wrong frames before (its issues 414, 875, 922).
func (s *Store) PutCompressed(b []byte) (Digest, error) {
	frame, err := Compress(b)
	if err != nil {
		return Digest{}, err
	}
	return s.PutBytes(frame)
}

// ReadCompressed returns what PutCompressed stored.
func (s *Store) ReadCompressed(d Digest) ([]byte, error) {
	frame, err := s.ReadBlob(d)
	if err != nil {
		return nil, err
	}
	return Decompress(frame)
}
