package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pipe/cache"
)

// exitBusy is the exit code of a run that another one kept from its work:
// EX_TEMPFAIL of sysexits.h, "try again later".
const exitBusy = 75

// busyError means that another run was still computing a result when MaxWait was
// over.
type busyError struct {
	holder string
	max    time.Duration
}

func (e *busyError) Error() string {
	return fmt.Sprintf("another run still computes it after %s of waiting: %s", e.max, e.holder)
}

func isBusy(err error) bool {
	var busy *busyError
	return errors.As(err, &busy)
}

// lockKey is Store.LockKey, for as long as MaxWait leaves.
func (r *Runner) lockKey(ctx context.Context, key cache.Key, waiting func(holder string)) (unlock func(), err error) {
	err = r.bounded(ctx, waiting, func(ctx context.Context, waiting func(string)) (err error) {
		unlock, err = r.Store.LockKey(ctx, key, waiting)
		return err
	})
	return unlock, err
}

// bounded calls lock, which waits for another run, for as long as MaxWait leaves.
func (r *Runner) bounded(ctx context.Context, waiting func(holder string), lock func(ctx context.Context, waiting func(holder string)) error) error {
	if r.MaxWait == 0 {
		return lock(ctx, waiting)
	}
	r.waitMu.Lock()
	before := r.waited
	r.waitMu.Unlock()
	started, held := time.Now(), ""
	limited, cancel := context.WithTimeout(ctx, r.MaxWait-r.Waited-before)
	defer cancel()
	err := lock(limited, func(holder string) {
		held = holder
		waiting(holder)
	})
	r.waitMu.Lock()
	r.waited = max(r.waited, before+time.Since(started)) // stages that wait at once wait once
	r.waitMu.Unlock()
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = &busyError{holder: held, max: r.MaxWait}
	}
	return err
}
