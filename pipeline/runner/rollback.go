package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"pipe/cache"
	"pipe/internal/faultfs"
)

// ErrNoVersion means that there is no earlier version to go back to.
var ErrNoVersion = errors.New("no earlier version")

// RolledBack tells what a roll-back did.
type RolledBack struct {
	To        string    // the place
	Digest    string    // of what is published now
	From      string    // digest of what was published before
	Published time.Time // when the version had been published
	Score     *float64  // of the version, if it is known
}

// Rollback puts the version that was published steps publications ago back at to.
// What it takes away stays out, whichever run makes it again, until something else is
// published. Versions that are no longer kept are not counted. The error is
// ErrNoVersion if there are not as many. store may restore a version that was changed.
func Rollback(ctx context.Context, store *cache.Store, to string, steps int, now time.Time) (RolledBack, error) {
	at := place{store: store, to: to}
	done := RolledBack{To: to}
	if _, err := faultfs.Stat(at.versions()); errors.Is(err, fs.ErrNotExist) {
		return done, fmt.Errorf("%w: nothing was published as a folder at %s", ErrNoVersion, to)
	}
	if err := checkPlace(to, true); err != nil {
		return done, err
	}
	unlock, err := at.lock(ctx)
	if err != nil {
		return done, err
	}
	defer unlock()
	s, err := at.read(ledgerEntry{Time: now.UTC()})
	if err != nil {
		return done, err
	}
	done.From = at.linked()
	done.Digest, err = at.earlier(s, steps)
	if err != nil {
		return done, err
	}
	if at.holds(ctx, done.Digest) != done.Digest {
		if err := at.restore(done.Digest); err != nil {
			return done, fmt.Errorf("%s was changed since it was published, and cannot be restored: %w", at.version(done.Digest), err)
		}
	}
	was := s.put[done.Digest]
	done.Published, done.Score = was.Time, was.Score
	if err := at.link(done.Digest); err != nil {
		return done, err
	}
	was.Time, was.Run, was.Decision, was.Previous, was.Why = now.UTC(), "", wasRolledBack, done.From, ""
	return done, at.note(s, was)
}

// earlier is the version that was published steps versions before the newest, of
// those that are kept.
func (p place) earlier(s *shelf, steps int) (string, error) {
	var there []string
	for _, d := range slices.Backward(s.order[:max(0, len(s.order)-1)]) {
		if _, err := faultfs.Stat(p.version(d)); err == nil {
			there = append(there, d)
		}
	}
	if steps > len(there) {
		return "", fmt.Errorf("%w: earlier versions of %s that are kept: %d, cannot go back by %d", ErrNoVersion, p.to, len(there), steps)
	}
	return there[steps-1], nil
}
