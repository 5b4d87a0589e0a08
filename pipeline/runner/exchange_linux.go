package runner

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two folders in one step, so that a reader of either never finds
// it missing.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err == nil {
		return nil
	}
	return exchangeInTwo(a, b, os.Rename)
}
