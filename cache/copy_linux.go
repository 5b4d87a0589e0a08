package cache

import (
	"golang.org/x/sys/unix"

	"pipe/internal/faultfs"
)

// reflink makes out share in's bytes; btrfs and XFS can.
func reflink(out, in *faultfs.File) bool {
	return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil
}
