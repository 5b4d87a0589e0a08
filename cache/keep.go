package cache

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
	"pipe/internal/ordered"
)

// Keep stores the content of a workspace file or folder under the digest that it was
// pinned with, so that it can be compared with later. No record names it: whoever
// needs the space may drop it. It is an error if the content is no longer what was
// pinned.
func (s *Store) Keep(ctx context.Context, p Pin) error {
	var missing []manifest.Entry
	for _, f := range p.files {
		if !f.folder && !s.trusted(f.entry.Digest, f.entry.Size) {
			missing = append(missing, f.entry)
		}
	}
	if err := s.keepFiles(ctx, p.Path, missing); err != nil {
		return err
	}
	if p.Object.Kind == File {
		return nil
	}
	_, err := s.PutBytes(manifest.Encode(p.Entries()))
	return err
}

// keepFiles stores files below root. Of many, several are on their way to the disk at a
// time, so that they share its waits; their folders are synced at the end, each once.
func (s *Store) keepFiles(ctx context.Context, root string, files []manifest.Entry) error {
	const many, together = 64, 16
	folders := map[string]bool{}
	for _, e := range files {
		folders[filepath.Dir(s.BlobPath(e.Digest))] = true
	}
	workers := 1
	if len(files) >= many {
		workers = together
	}
	err := ordered.Each(len(files), workers, func(i int) error {
		return s.keepFile(ctx, filepath.Join(root, filepath.FromSlash(files[i].Path)), files[i].Digest)
	}, func(_ int, err error) error { return err })
	for _, dir := range slices.Sorted(maps.Keys(folders)) {
		if err == nil {
			err = atomicfile.SyncDir(dir)
		}
	}
	return err
}

func (s *Store) keepFile(ctx context.Context, path string, want Digest) error {
	f, err := faultfs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := s.putBy(s.moveIn, &countingReader{ctx: ctx, r: f})
	if err == nil && got != want {
		err = fmt.Errorf("%s changed while it was kept", path)
	}
	return err
}
