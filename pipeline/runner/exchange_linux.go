package runner

import (
	"golang.org/x/sys/unix"

	"pipe/internal/faultfs"
)

// exchange swaps two folders in one step, so that a reader of either never finds
// it missing.
func exchange(a, b string) error {
	err := faultfs.Do(faultfs.ExchangeOp, a, b, func() error {
		return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	})
	if err == nil {
		return nil
	}
	return exchangeInTwo(a, b, faultfs.Rename)
}
