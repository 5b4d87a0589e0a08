//go:build unix

package runner

import "golang.org/x/sys/unix"

// canWrite says whether files may be made in a folder.
func canWrite(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }
