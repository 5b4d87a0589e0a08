package cache

import (
	"errors"
	"io/fs"
	"path/filepath"

	"pipe/internal/faultfs"
)

// keptMark, in an attempt's folder, says that somebody wants to look into it.
const keptMark = ".kept"

// KeepAttempt has an attempt's folder outlive its process, until a collection
// removes it for its age or for room. It must not be released. inputs are the objects that
// Materialize made in it, by path; those that are no longer there are put back. Links to
// the store's files become copies wherever the stage has put them: who works in the
// folder does not write to the store. Only the folder's owner may look into it.
func (s *Store) KeepAttempt(dir string, inputs map[string]Object) error {
	if err := faultfs.Chmod(dir, 0o700); err != nil {
		return err
	}
	for path, o := range inputs {
		if _, err := faultfs.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			if err := s.Copy(o, path); err != nil {
				return err
			}
			continue
		}
		files, err := s.filesOf(o)
		if err != nil {
			return err
		}
		for _, f := range files {
			at := filepath.Join(path, filepath.FromSlash(f.Path))
			if err := s.verified.relink(s.BlobPath(f.Digest), func() error { return ownFile(dir, at) }); err != nil {
				return err
			}
		}
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return ownFile(dir, path)
	})
	if err != nil {
		return err
	}
	return faultfs.WriteFile(filepath.Join(dir, keptMark), nil, 0o666)
}

// ownFile puts a copy in the place of a file in dir that has other names. What is not
// there any more, or is no file, is left alone.
func ownFile(dir, path string) error {
	info, err := faultfs.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() || linkCount(info) < 2 {
		return err
	}
	temp := filepath.Join(dir, ".copy")
	if err := copyFile(path, temp, info.Mode().Perm()); err != nil {
		return err
	}
	return faultfs.Rename(temp, path)
}

func isKept(dir string) bool {
	_, err := faultfs.Lstat(filepath.Join(dir, keptMark))
	return err == nil
}
