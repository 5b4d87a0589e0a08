//go:build unix

package cache

import (
	"errors"
	"os"
	"syscall"
)

// lockShared waits for a lock on f that others may share.
func lockShared(f *os.File) error { return flock(f, syscall.LOCK_SH) }

// lockAlone waits for a lock on f that nobody shares.
func lockAlone(f *os.File) error { return flock(f, syscall.LOCK_EX) }

func unlockFile(f *os.File) { _ = flock(f, syscall.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
