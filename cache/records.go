package cache

import (
	"path/filepath"

	"pipe/internal/faultfs"
)

// EachRecord calls visit with every record of the store that can be read, in no
// order that means anything, until it returns false.
func (s *Store) EachRecord(visit func(r *Record) bool) error {
	shards, err := faultfs.ReadDir(filepath.Join(s.dir, "actions"))
	if err != nil {
		return err
	}
	for _, shard := range shards {
		files, err := faultfs.ReadDir(filepath.Join(s.dir, "actions", shard.Name()))
		if err != nil {
			continue // no folder: not ours
		}
		for _, f := range files {
			var k Key
			if k.UnmarshalText([]byte(f.Name())) != nil {
				continue // a temporary file
			}
			if r, err := s.ReadRecord(k); err == nil && !visit(r) {
				return nil
			}
		}
	}
	return nil
}
