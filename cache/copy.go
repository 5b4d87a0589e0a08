package cache

import (
	"io"
	"os"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
)

// copyFile copies src to dst, which must not exist, and syncs it. mode is before the
// umask. Where the file
// system can share the bytes, it does.
func copyFile(src, dst string, mode os.FileMode) error {
	in, err := faultfs.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := faultfs.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if !reflink(out, in) {
		_, err = io.Copy(out, in)
	}
	if err = atomicfile.CloseSynced(out, err); err != nil {
		faultfs.Remove(dst)
	}
	return err
}
