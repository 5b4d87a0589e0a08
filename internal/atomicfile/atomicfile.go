// Package atomicfile writes files that are either there, complete and on disk, or
// not there.
package atomicfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	return write(path, data, mode, func(f *os.File, err error) error { return errors.Join(err, f.Close()) })
}

func write(path string, data []byte, mode os.FileMode, end func(f *os.File, err error) error) error {
	f, err := CreateTemp(filepath.Dir(path), mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = end(f, err)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// TempPrefix begins the names of files that CreateTemp makes.
const TempPrefix = ".tmp-"

// CreateTemp makes a file of a new name in dir. Unlike os.CreateTemp it takes a
// mode, before the umask.
func CreateTemp(dir string, mode os.FileMode) (*os.File, error) {
	for {
		name := filepath.Join(dir, fmt.Sprintf("%s%016x", TempPrefix, rand.Uint64()))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
}

// CloseSynced syncs, unless err is set already, and closes f. A failed sync is
// never tried again: the kernel may have dropped the pages (Rebello et al. 2020),
// so the caller throws the file away.
func CloseSynced(f *os.File, err error) error {
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes renames and new names in a folder last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return CloseSynced(d, nil)
}
