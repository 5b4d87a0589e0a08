package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"pipe/internal/atomicfile"
)

const storeFormat = "pipe store 1\n"

// Store is an open store. Its methods may be called from several goroutines, and
// several processes may have one store open.
type Store struct {
	dir      string
	files    *statIndex // workspace files
	verified *statIndex // store objects

	mu     sync.Mutex // guards synced
	synced map[string]bool
}

// Open opens the store at dir, and makes it if it is not there.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	format := filepath.Join(dir, "format")
	have, err := os.ReadFile(format)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(dir, format); err != nil {
			return nil, fmt.Errorf("store %s: %w", dir, err)
		}
	case err != nil:
		return nil, fmt.Errorf("store %s: %w", dir, err)
	case string(have) != storeFormat:
		return nil, fmt.Errorf("store %s: format is %q, this pipe reads %q", dir, have, storeFormat)
	}
	s := &Store{dir: dir, synced: map[string]bool{}}
	s.files = openStatIndex(filepath.Join(dir, "stat.idx"), "", true)
	s.verified = openStatIndex(filepath.Join(dir, "verified.idx"), bootID(), false)
	return s, nil
}

func create(dir, format string) error {
	for _, sub := range []string{"blobs", "actions", "runs", "attempts", "locks"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			return err
		}
	}
	return atomicfile.Write(format, []byte(storeFormat), 0o666)
}

// Close writes the indexes. What they hold can be found again, so that an error
// only costs time later.
func (s *Store) Close() error {
	return errors.Join(s.files.save(), s.verified.save())
}

// Dir is the store's folder, absolute.
func (s *Store) Dir() string { return s.dir }

// RunsDir holds the run histories.
func (s *Store) RunsDir() string { return filepath.Join(s.dir, "runs") }

// sharded is the place of a named file: dir/ab/ab….
func (s *Store) sharded(dir, name string) string {
	return filepath.Join(s.dir, dir, name[:2], name)
}

// shardDir makes the folder of a sharded file and, once, makes its name last.
func (s *Store) shardDir(path string) error {
	dir := filepath.Dir(path)
	s.mu.Lock()
	known := s.synced[dir]
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	s.mu.Lock()
	s.synced[dir] = true
	s.mu.Unlock()
	return nil
}
