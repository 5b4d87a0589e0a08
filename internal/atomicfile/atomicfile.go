// Package atomicfile writes files that are either there, complete and on disk, or
// not there.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write puts data at path: temporary file beside it, sync, rename, sync of the
// folder. On an error nothing is at path that was not there before.
func Write(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	err = CloseSynced(f, err)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return SyncDir(filepath.Dir(path))
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
