package cache

import (
	"context"
	"fmt"
	"path/filepath"

	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// Keep stores the content of a workspace file or folder under the digest that it was
// pinned with, so that it can be compared with later. No record names it: whoever
// needs the space may drop it. It is an error if the content is no longer what was
// pinned.
func (s *Store) Keep(ctx context.Context, p Pin) error {
	for _, f := range p.files {
		if f.folder || s.trusted(f.entry.Digest, f.entry.Size) {
			continue
		}
		path := filepath.Join(p.Path, filepath.FromSlash(f.rel))
		got, err := s.keepFile(ctx, path)
		if err != nil {
			return err
		}
		if got != f.entry.Digest {
			return fmt.Errorf("%s changed while it was kept", path)
		}
	}
	if p.Object.Kind == File {
		return nil
	}
	_, err := s.PutBytes(manifest.Encode(p.Entries()))
	return err
}

func (s *Store) keepFile(ctx context.Context, path string) (Digest, error) {
	f, err := faultfs.Open(path)
	if err != nil {
		return Digest{}, err
	}
	defer f.Close()
	return s.putFrom(&countingReader{ctx: ctx, r: f})
}
