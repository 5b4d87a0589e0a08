//go:build unix

package cache

import (
	"os"
	"syscall"

	"pipe/internal/faultfs"
)

// statFile identifies the file at path (a link is followed).
func statFile(path string) (inode, fileStamp, error) {
	info, err := faultfs.Stat(path)
	if err != nil {
		return inode{}, fileStamp{}, err
	}
	return stampOf(info)
}

// stampOf is statFile for a file of which info was told.
func stampOf(info os.FileInfo) (inode, fileStamp, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, fileStamp{}, os.ErrInvalid
	}
	stamp := fileStamp{size: info.Size(), mtime: info.ModTime().UnixNano(), ctime: changeTime(st)}
	return inode{uint64(st.Dev), uint64(st.Ino)}, stamp, nil
}
