//go:build unix

package cache

import (
	"errors"
	"syscall"

	"pipe/internal/faultfs"
)

// lockShared waits for a lock on f that others may share.
func lockShared(f *faultfs.File) error { return flock(f, syscall.LOCK_SH) }

// lockAlone waits for a lock on f that nobody shares.
func lockAlone(f *faultfs.File) error { return flock(f, syscall.LOCK_EX) }

func unlockFile(f *faultfs.File) { _ = flock(f, syscall.LOCK_UN) }

func flock(f *faultfs.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
