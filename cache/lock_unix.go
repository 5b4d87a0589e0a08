//go:build unix

package cache

import (
	"errors"
	"os"
	"syscall"

	"pipe/internal/faultfs"
)

// lockFile takes an exclusive flock on path, made if absent, without waiting. ok is
// false if another process holds it. The kernel lets go when the process dies, so
// nothing can be stale. With remove, unlock removes the file.
func lockFile(path string, remove bool, content string) (unlock func(), ok bool, err error) {
	for {
		f, err := faultfs.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, false, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, false, nil
		}
		if err != nil {
			f.Close()
			return nil, false, err
		}
		if !sameFile(f, path) { // removed by the holder before us
			f.Close()
			continue
		}
		if content != "" {
			f.Truncate(0)
			f.WriteAt([]byte(content+"\n"), 0)
		}
		return func() {
			if remove {
				faultfs.Remove(path)
			}
			f.Close()
		}, true, nil
	}
}

func sameFile(f *faultfs.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := faultfs.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
