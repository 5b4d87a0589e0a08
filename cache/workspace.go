package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// Pin is the content of a workspace file or folder as it was found, and what is
// needed to see whether it has changed since.
type Pin struct {
	Object Object
	Path   string

	files    []pinnedFile
	patterns []string
}

type pinnedFile struct {
	rel    string // within a folder
	folder bool   // and an empty one
	id     inode
	stamp  fileStamp
	entry  manifest.Entry
}

// PinPath finds the digest of a workspace file or folder. Files that were not
// touched since an earlier run are not read. Of a folder, patterns choose files at
// its top by name (path.Match); none are everything in it. Nothing is stored.
func (s *Store) PinPath(ctx context.Context, path string, patterns []string) (Pin, error) {
	info, err := faultfs.Stat(path)
	if err != nil {
		return Pin{}, err
	}
	pin := Pin{Path: path, patterns: patterns}
	if info.Mode().IsRegular() {
		pin.files = make([]pinnedFile, 1)
		if err := s.pinFiles(ctx, path, pin.files); err != nil {
			return Pin{}, err
		}
		e := &pin.files[0].entry
		e.Mode = '-' // which a blob has not
		pin.Object = Object{Kind: File, Digest: e.Digest, Size: e.Size}
		return pin, nil
	}
	if !info.IsDir() {
		return Pin{}, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	if len(patterns) == 0 {
		err = manifest.List(path, func(_, rel string, folder bool) error {
			pin.files = append(pin.files, pinnedFile{rel: rel, folder: folder})
			return nil
		})
	} else {
		err = manifest.WalkTop(path, patterns, func(rel string, _ byte) error {
			pin.files = append(pin.files, pinnedFile{rel: rel})
			return nil
		})
	}
	if err != nil {
		return Pin{}, err
	}
	if err := s.pinFiles(ctx, path, pin.files); err != nil {
		return Pin{}, err
	}
	pin.Object.Kind = Tree
	entries := make([]manifest.Entry, len(pin.files))
	for i, f := range pin.files {
		entries[i] = f.entry
		pin.Object.Size += f.entry.Size
	}
	pin.Object.Digest = manifest.Sum(manifest.Encode(entries))
	return pin, nil
}

// Entries lists a pinned folder's files, as its manifest would.
func (p Pin) Entries() []manifest.Entry {
	entries := make([]manifest.Entry, len(p.files))
	for i, f := range p.files {
		entries[i] = f.entry
	}
	return entries
}

// pinFiles finds the digests of files below root, several at a time.
func (s *Store) pinFiles(ctx context.Context, root string, files []pinnedFile) error {
	// Most are known, and looking at one takes a microsecond: they are taken many at a time.
	const many = 32
	unknown := make([]bool, len(files))
	err := atOnce((len(files)+many-1)/many, func(batch int) error {
		for i := batch * many; i < min((batch+1)*many, len(files)); i++ {
			var err error
			if unknown[i], err = s.lookAt(root, &files[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var toHash []*pinnedFile
	for i := range files {
		if unknown[i] {
			toHash = append(toHash, &files[i])
		}
	}
	return atOnce(len(toHash), func(i int) error { return s.hashFile(ctx, root, toHash[i]) })
}

// atOnce calls do with 0 to n-1, as many at once as there are processors, until one fails.
func atOnce(n int, do func(i int) error) error {
	var next atomic.Int64
	errs := make(chan error, 1)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					select {
					case errs <- err:
					default:
					}
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func (f *pinnedFile) below(root string) string {
	if f.rel == "" {
		return root
	}
	return root + string(filepath.Separator) + filepath.FromSlash(f.rel)
}

// lookAt notes what a file is, and its digest if it is known.
func (s *Store) lookAt(root string, f *pinnedFile) (unknown bool, err error) {
	if f.folder {
		f.entry = manifest.Entry{Path: f.rel, Mode: 'd'}
		return false, nil
	}
	path := f.below(root)
	info, err := faultfs.Stat(path)
	if err != nil {
		return false, err
	}
	mode, err := manifest.Mode(path, info)
	if err != nil {
		return false, err
	}
	f.entry = manifest.Entry{Path: f.rel, Mode: mode}
	id, stamp, err := stampOf(info)
	if err != nil {
		return true, nil // it is hashed each time
	}
	if e, ok := s.files.get(id); ok && e.stamp == stamp && e.trusted() {
		f.id, f.stamp, f.entry.Digest, f.entry.Size = id, stamp, e.digest, stamp.size
		return false, nil
	}
	return true, nil
}

// hashFile reads a file that was looked at.
func (s *Store) hashFile(ctx context.Context, root string, f *pinnedFile) error {
	path := f.below(root)
	id, stamp, statErr := statFile(path)
	hashed := s.files.now().UnixNano()
	file, err := faultfs.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	size, err := copyContext(ctx, h, file)
	if err != nil {
		return err
	}
	f.id, f.stamp, f.entry.Digest, f.entry.Size = id, stamp, Digest(h.Sum(nil)), size
	// The stamp is from before the file was read: a change while it was read shows
	// as a stamp that no longer holds.
	if statErr == nil && stamp.size == size {
		s.files.add(id, stamp, hashed, f.entry.Digest)
	}
	return nil
}

// Changed looks at the files again and returns the path of one whose content is
// not what was pinned, or "".
func (s *Store) Changed(ctx context.Context, p Pin) (string, error) {
	if p.Object.Kind == File {
		id, stamp, err := statFile(p.Path)
		if f := p.files[0]; err == nil && id == f.id && stamp == f.stamp {
			return "", nil
		}
	}
	again, err := s.PinPath(ctx, p.Path, p.patterns)
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno) && errno != syscall.ENOENT && errno != syscall.ENOTDIR:
		return "", err // nobody can tell
	case err != nil:
		return p.Path, nil // it is gone, or of another kind
	}
	if again.Object == p.Object {
		return "", nil
	}
	before := make(map[string]Digest, len(p.files))
	for _, f := range p.files {
		before[f.rel] = f.entry.Digest
	}
	for _, f := range again.files {
		if d, ok := before[f.rel]; !ok || d != f.entry.Digest {
			return filepath.Join(p.Path, filepath.FromSlash(f.rel)), nil
		}
	}
	return p.Path, nil
}
