package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"pipe/internal/faultfs"
)

// Runs of one name register in a folder of their own in locks/: each holds the
// flock of a file that names it, so that who looks knows which of them live. The
// kernel lets go when a process dies; nothing goes stale.
const (
	runsSuffix = ".runs"
	gateName   = "gate" // held while the folder is looked at and changed
)

// RegisterRun notes that a run of a name is under way and returns the function that
// ends it. With alone it does so only if no other run of the name is under way:
// busy then says which one is, "pid 7 on host since …", and nothing was noted.
// Where the file system has no locks every run is alone. The error is ctx's.
func (s *Store) RegisterRun(ctx context.Context, name string, alone bool) (end func(), busy string, err error) {
	free := func() {}
	sum := sha256.Sum256([]byte(name))
	dir := filepath.Join(s.dir, "locks", hex.EncodeToString(sum[:])+runsSuffix)
	if err := faultfs.MkdirAll(dir, 0o777); err != nil {
		return free, "", nil
	}
	open, err := Lock(ctx, filepath.Join(dir, gateName), false, nil)
	if err != nil {
		return nil, "", err
	}
	defer open()
	if alone {
		if busy := liveRun(dir); busy != "" {
			return nil, busy, nil
		}
	}
	f, err := faultfs.CreateTemp(dir, "run-", 0o600)
	if err != nil {
		return free, "", nil
	}
	f.Close()
	end, ok, err := lockFile(f.Name(), true, holder())
	if err != nil || !ok {
		faultfs.Remove(f.Name())
		return free, "", nil
	}
	return end, "", nil
}

// liveRun names a run that is under way, or nothing, and removes what dead ones left.
func liveRun(dir string) string {
	entries, _ := faultfs.ReadDir(dir)
	for _, e := range entries {
		if e.Name() == gateName {
			continue
		}
		file := filepath.Join(dir, e.Name())
		remove, ok, err := lockFile(file, true, "")
		switch {
		case err != nil:
		case ok:
			remove()
		default:
			text, err := faultfs.ReadFile(file)
			if !errors.Is(err, fs.ErrNotExist) { // else it ended just now
				return strings.TrimSpace(string(text))
			}
		}
	}
	return ""
}
