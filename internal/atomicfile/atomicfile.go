// Package atomicfile writes files that are either there, complete and on disk, or
// not there.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"

	"pipe/internal/faultfs"
)

// Write puts data at path: temporary file beside it, sync, rename, sync of the
// folder. On an error nothing is at path that was not there before. mode is before
// the umask.
func Write(path string, data []byte, mode os.FileMode) error {
	if err := write(path, data, mode, CloseSynced); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// WriteUnsynced is Write for what nobody misses: it does not wait for the disk. If the
// machine goes down within the next minute, the file may be absent, empty or torn.
func WriteUnsynced(path string, data []byte, mode os.FileMode) error {
	return write(path, data, mode, func(f *faultfs.File, err error) error { return errors.Join(err, f.Close()) })
}

func write(path string, data []byte, mode os.FileMode, end func(f *faultfs.File, err error) error) error {
	f, err := CreateTemp(filepath.Dir(path), mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = end(f, err)
	if err == nil {
		err = faultfs.Rename(f.Name(), path)
	}
	if err != nil {
		faultfs.Remove(f.Name())
	}
	return err
}

// TempPrefix begins the names of files that CreateTemp makes.
const TempPrefix = ".tmp-"

// CreateTemp makes a file of a new name in dir. mode is before the umask.
func CreateTemp(dir string, mode os.FileMode) (*faultfs.File, error) {
	return faultfs.CreateTemp(dir, TempPrefix, mode)
}

// CloseSynced syncs, unless err is set already, and closes f. A failed sync is
// never tried again: the kernel may have dropped the pages (Rebello et al. 2020),
// so the caller throws the file away.
func CloseSynced(f *faultfs.File, err error) error {
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// MkdirAll makes the folder at dir, and those above it, if they are not there, and makes
// their names last.
func MkdirAll(dir string) error {
	info, err := faultfs.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if err == nil || above == dir {
		return faultfs.Mkdir(dir, 0o777) // which says what is wrong
	}
	if err := MkdirAll(above); err != nil {
		return err
	}
	if err := faultfs.Mkdir(dir, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return SyncDir(above)
}

// SyncDir makes renames and new names in a folder last.
func SyncDir(dir string) error {
	d, err := faultfs.Open(dir)
	if err != nil {
		return err
	}
	return CloseSynced(d, nil)
}
