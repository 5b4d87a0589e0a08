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
	if r.MaxWait == 0 {
		return r.Store.LockKey(ctx, key, waiting)
	}
	r.waitMu.Lock()
	before := r.waited
	r.waitMu.Unlock()
	started, held := time.Now(), ""
	limited, cancel := context.WithTimeout(ctx, r.MaxWait-before)
	defer cancel()
	unlock, err = r.Store.LockKey(limited, key, func(holder string) {
		held = holder
		waiting(holder)
	})
	r.waitMu.Lock()
	r.waited = max(r.waited, before+time.Since(started)) // stages that wait at once wait once
	r.waitMu.Unlock()
	if err != nil && ctx.Err() == nil {
		err = &busyError{holder: held, max: r.MaxWait}
	}
	return unlock, err
}
