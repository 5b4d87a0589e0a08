package cache

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
)

const (
	formatName  = "format"
	storeFormat = "pipe store 1\n"
)

// Store is an open store. Its methods may be called from several goroutines, and
// several processes may have one store open.
type Store struct {
	dir      string
	absent   bool       // nothing is on disk yet
	files    *statIndex // workspace files
	verified *statIndex // store objects
	lease    lease

	mu     sync.Mutex // guards synced
	synced map[string]bool
}

// Open opens the store at dir, and makes it if it is not there.
func Open(dir string) (*Store, error) {
	s, err := OpenToRead(dir)
	if err == nil {
		err = s.Create()
	}
	return s, err
}

// OpenToRead opens the store at dir, there or not. One that is not there knows
// nothing, and nothing may be put into it before Create.
func OpenToRead(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	have, err := faultfs.ReadFile(filepath.Join(dir, formatName))
	absent := errors.Is(err, fs.ErrNotExist)
	switch {
	case absent:
	case err != nil:
		return nil, fmt.Errorf("store %s: %w", dir, err)
	case string(have) != storeFormat:
		return nil, fmt.Errorf("store %s: format is %q, this pipe reads %q", dir, have, storeFormat)
	}
	s := &Store{dir: dir, absent: absent, synced: map[string]bool{}}
	s.files = openStatIndex(filepath.Join(dir, "stat.idx"), "", true)
	s.verified = openStatIndex(filepath.Join(dir, "verified.idx"), bootID(), false)
	return s, nil
}

// Create makes the store if it is not there.
func (s *Store) Create() error {
	if !s.absent {
		return nil
	}
	err := atomicfile.MkdirAll(s.dir)
	for _, sub := range []string{"blobs", "actions", "state", "runs", "attempts", "locks"} {
		if err == nil {
			err = faultfs.MkdirAll(filepath.Join(s.dir, sub), 0o777)
		}
	}
	if err == nil {
		err = atomicfile.SyncDir(s.dir) // what has a format has all its folders
	}
	if err == nil {
		err = atomicfile.Write(filepath.Join(s.dir, formatName), []byte(storeFormat), 0o666)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", s.dir, err)
	}
	s.absent = false
	return nil
}

// Close writes the indexes. What they hold can be found again, so that an error
// only costs time later.
func (s *Store) Close() error {
	if s.absent {
		return nil
	}
	return errors.Join(s.files.save(), s.verified.save())
}

// Dir is the store's folder, absolute.
func (s *Store) Dir() string { return s.dir }

// RunsDir holds the run histories.
func (s *Store) RunsDir() string { return filepath.Join(s.dir, "runs") }

// sharded is the place of a named file: dir/ab/ab….
func (s *Store) sharded(dir string, name [32]byte) string {
	var digits [2 * len(name)]byte
	hex.Encode(digits[:], name[:])
	const slash = string(filepath.Separator)
	return s.dir + slash + dir + slash + string(digits[:2]) + slash + string(digits[:])
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
	if err := faultfs.MkdirAll(dir, 0o777); err != nil {
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
