package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pipe/cache"
)

// BadPlace is something published that is not what the ledger, or the run that put it
// there, says.
type BadPlace struct {
	Place  PublishedPlace
	Path   string // of the version or the file
	Digest cache.Digest
	Why    string
}

// CheckPlaces reads what is published, every byte, and finds what somebody or
// something changed. A place that is gone is nobody's fault: people move folders.
func CheckPlaces(ctx context.Context, places []PublishedPlace, looked func(path string, size int64)) ([]BadPlace, error) {
	var bad []BadPlace
	for _, p := range places {
		for _, d := range p.Versions {
			path := p.To
			if p.Folder {
				path = place{to: p.To}.version(d.String())
			}
			o, _, err := cache.Measure(ctx, path)
			switch {
			case ctx.Err() != nil:
				return bad, ctx.Err()
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
				bad = append(bad, BadPlace{p, path, d, "cannot be read: " + err.Error()})
			case o.Digest != d:
				bad = append(bad, BadPlace{p, path, d, "has been changed: it holds " + o.Digest.Short()})
			}
			if looked != nil {
				looked(path, o.Size)
			}
		}
	}
	return bad, nil
}

// Restore puts what is published back as it was, from the store. A file that holds another
// result is left alone.
func (b BadPlace) Restore(ctx context.Context, store *cache.Store) error {
	if !b.Place.Folder {
		o := cache.Object{Kind: cache.File, Digest: b.Digest}
		if err := store.Verify(o); err != nil {
			return err
		}
		// A run of which no history tells may have put it there.
		if now, _, err := cache.Measure(ctx, b.Path); err == nil && now.Digest != b.Digest && store.Has(now) {
			return errors.New("it holds another result that the store knows; pipe run puts there what its pipeline makes now")
		}
		return store.Place(o, b.Path)
	}
	at := place{store: store, to: b.Place.To}
	unlock, err := at.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return at.restore(b.Digest.String())
}

// RemoveHistories removes the files of old runs and returns the bytes freed. It may be
// called after the results that they used were collected.
func RemoveHistories(old []History) (freed int64, err error) {
	for _, h := range old {
		if rmErr := os.Remove(h.Path); rmErr == nil {
			freed += h.Size
		} else if !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}
	return freed, err
}

// LastUse names what used a result last: "stage of pipeline (profile)".
func (u *Uses) LastUse(k cache.Key) string {
	for _, s := range u.Stages[k] {
		return fmt.Sprintf("%s of %s (%s)", s.Stage, s.Pipeline, s.Profile)
	}
	return ""
}

// Here says whether a use was in a folder.
func (s StageUse) Here(dir string) bool {
	return filepath.Clean(s.Dir) == filepath.Clean(dir)
}
