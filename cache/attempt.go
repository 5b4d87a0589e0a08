package cache

import (
	"path/filepath"

	"pipe/internal/faultfs"
)

// keptMark, in an attempt's folder, says that somebody wants to look into it.
const keptMark = ".kept"

// KeepAttempt has an attempt's folder outlive its process, until a collection
// removes it for its age or for room. It must not be released.
func KeepAttempt(dir string) error {
	return faultfs.WriteFile(filepath.Join(dir, keptMark), nil, 0o666)
}

func isKept(dir string) bool {
	_, err := faultfs.Lstat(filepath.Join(dir, keptMark))
	return err == nil
}
