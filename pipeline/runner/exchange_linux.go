package runner

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"pipe/internal/faultfs"
)

// exchange swaps two folders in one step, so that a reader of either never finds
// it missing.
func exchange(a, b string) error {
	err := faultfs.Do(faultfs.ExchangeOp, a, b, func() error {
		if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
			return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
		}
		return nil
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // this file system cannot
		return exchangeInTwo(a, b, faultfs.Rename)
	}
	return err
}
