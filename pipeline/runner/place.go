package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pipe/cache"
	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// A published folder is a relative link TO → TO.versions/<digest>, so that a reader
// sees the old folder or the new one and never a mixture. The ledger beside the
// versions tells what was decided when. The version is there before the link moves,
// and the link moves before the ledger says so: what the link says is the truth.
const (
	versionsSuffix = ".versions"
	ledgerName     = "ledger.jsonl"
	lockName       = ".lock"
	linkPrefix     = ".link-" // of a link that is being made
	keepVersions   = 3
)

// checkPlace refuses a place that holds what pipe did not put there: a folder, a
// link to elsewhere and, for a folder to be published, a file. A file at the place
// of a file is what the pipeline says should be replaced.
func checkPlace(to string, folder bool) error {
	info, err := faultfs.Lstat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a folder that pipe did not make; move it away", to)
	case info.Mode().IsRegular() && folder:
		return fmt.Errorf("%s is a file, and a folder is to be published there; move it away", to)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := faultfs.Readlink(to)
		if err == nil && filepath.Dir(target) != filepath.Base(to)+versionsSuffix {
			return fmt.Errorf("%s is a link to %s that pipe did not make; move it away", to, target)
		}
	}
	return nil
}

// place is where a folder is published. All methods but lock want the lock held:
// versions, link and ledger move together.
type place struct {
	store *cache.Store
	to    string
}

func (p place) versions() string             { return p.to + versionsSuffix }
func (p place) version(digest string) string { return filepath.Join(p.versions(), digest) }
func (p place) ledger() string               { return filepath.Join(p.versions(), ledgerName) }

// lock waits until no other process publishes here, and returns the function that
// lets others in.
func (p place) lock(ctx context.Context) (unlock func(), err error) {
	return cache.Lock(ctx, filepath.Join(p.versions(), lockName), false, nil)
}

// linked is the digest of the version that the link names, or "".
func (p place) linked() string {
	target, err := faultfs.Readlink(p.to)
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// read returns what the ledger says, after adding to it what a process that died
// could not. candidate is the line for what is about to be published; it may be
// empty.
func (p place) read(candidate ledgerEntry) (*shelf, error) {
	b, err := faultfs.ReadFile(p.ledger())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s := newShelf(parseLedger(b))
	e, lacks := s.repair(p.linked(), candidate.Digest)
	if !lacks {
		return s, nil
	}
	if e.Digest == candidate.Digest {
		e.Key, e.terms, e.Score = candidate.Key, candidate.terms, candidate.Score
	}
	e.Time, e.Run = candidate.Time, candidate.Run
	return s, p.note(s, e)
}

// note adds a line to the ledger.
func (p place) note(s *shelf, e ledgerEntry) error {
	s.add(e)
	return appendLedger(p.ledger(), e)
}

// holds is the digest of what a version's folder holds, whatever its name says; ""
// if it is not there or cannot be read.
func (p place) holds(ctx context.Context, version string) string {
	if version == "" {
		return ""
	}
	pin, err := p.store.PinPath(ctx, p.version(version), nil)
	if err != nil {
		return ""
	}
	return pin.Object.Digest.String()
}

// put copies a folder to its place among the versions; one that is there and was
// changed is exchanged.
func (p place) put(o cache.Object) error {
	if err := p.store.Verify(o); err != nil {
		return err
	}
	version := p.version(o.Digest.String())
	switch _, err := faultfs.Lstat(version); {
	case errors.Is(err, fs.ErrNotExist):
		return p.store.Place(o, version)
	case err != nil:
		return err
	}
	fresh := version + freshSuffix
	if err := faultfs.RemoveAll(fresh); err != nil { // of a run that was killed
		return err
	}
	if err := p.store.Place(o, fresh); err != nil {
		return err
	}
	defer faultfs.RemoveAll(fresh)
	if err := exchange(fresh, version); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(version))
}

// restore puts a version back as it was published, if the store still has it.
func (p place) restore(digest string) error {
	o := cache.Object{Kind: cache.Tree}
	if err := o.Digest.UnmarshalText([]byte(digest)); err != nil {
		return err
	}
	return p.put(o)
}

// freshSuffix ends the name of a copy that is about to be exchanged for a version.
const freshSuffix = ".fresh"

// link makes the place a link to a version, in one step.
func (p place) link(digest string) error {
	temp := filepath.Join(p.versions(), fmt.Sprintf("%s%d", linkPrefix, os.Getpid()))
	faultfs.Remove(temp)
	if err := faultfs.Symlink(filepath.Join(filepath.Base(p.versions()), digest), temp); err != nil {
		return err
	}
	if err := faultfs.Rename(temp, p.to); err != nil {
		faultfs.Remove(temp)
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(p.to))
}

// drop removes the versions but the newest, and what killed processes left.
func (p place) drop(s *shelf) {
	keep := s.order[max(0, len(s.order)-keepVersions):]
	entries, _ := faultfs.ReadDir(p.versions())
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), freshSuffix)
		_, err := manifest.ParseDigest(name)
		if err == nil && !slices.Contains(keep, e.Name()) || strings.HasPrefix(e.Name(), linkPrefix) {
			faultfs.RemoveAll(filepath.Join(p.versions(), e.Name()))
		}
	}
}

// LedgerOf is the path of the ledger of what is published at to. It is there once a
// folder was.
func LedgerOf(to string) string { return place{to: to}.ledger() }
