package cache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pipe/internal/faultfs"
)

// LockKey waits until no other process computes the key and returns the function
// that lets others in. waiting is called once, with the holder, if it has to wait.
// Locks only save double work: where the file system has none, LockKey returns
// at once, and Commit decides who was first.
func (s *Store) LockKey(ctx context.Context, k Key, waiting func(holder string)) (unlock func(), err error) {
	return Lock(ctx, filepath.Join(s.dir, "locks", k.String()), true, waiting)
}

// Lock waits for an exclusive lock on the file at path, made if absent, and returns
// the function that lets go of it; with remove that removes the file, too.
func Lock(ctx context.Context, path string, remove bool, waiting func(holder string)) (unlock func(), err error) {
	me := holder()
	const longest = 200 * time.Millisecond
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, longest) {
		unlock, ok, err := lockFile(path, remove, me)
		if err != nil {
			return func() {}, nil
		}
		if ok {
			return unlock, nil
		}
		if waiting != nil {
			holder, _ := faultfs.ReadFile(path)
			waiting(strings.TrimSpace(string(holder)))
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// holder says who we are, for those who find a lock taken.
func holder() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("pid %d on %s since %s", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
}
