//go:build unix

package faultfs

import (
	"bytes"
	"os"
	"syscall"
)

// readSmall is os.ReadFile for the small files of which a run reads thousands. It does
// without what package os prepares for files that may block: half of the time.
func readSmall(path string) ([]byte, error) {
	const usual = 4 << 10 // a record has one
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		if err == syscall.EINTR || err == syscall.EMFILE {
			return os.ReadFile(path)
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd)
	var buffer [usual]byte // what is returned is as large as the file
	for read := 0; read < usual; {
		n, err := syscall.Read(fd, buffer[read:])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return bytes.Clone(buffer[:read]), nil
		default:
			read += n
		}
	}
	return os.ReadFile(path) // it is larger
}
