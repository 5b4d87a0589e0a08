package runner

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pipe/cache"
	"pipe/internal/problem"
	"pipe/stages"
)

// stageFailure is a failure of the stage's own: another attempt may do better. What
// is wrong with the pipeline, its inputs or the machine is none.
type stageFailure struct{ err error }

func (e *stageFailure) Error() string { return e.err.Error() }
func (e *stageFailure) Unwrap() error { return e.err }

// mayRetry says whether another attempt could end otherwise. A list of problems is
// about what is in a file, and will be there again.
func mayRetry(err error) bool {
	var own *stageFailure
	var list problem.List
	return errors.As(err, &own) && !errors.Is(err, stages.ErrStopped) && !errors.As(err, &list) && !IsInfrastructure(err)
}

// withRetries runs an attempt, and others after it as long as they fail and the step
// allows it. It returns the last one, its number, and its error.
func (a *attempt) withRetries(ctx context.Context, run func(a *attempt) error) (last *attempt, n int, err error) {
	for n = 1; ; n++ {
		err = run(a)
		retries := a.step.Retries
		if err == nil || ctx.Err() != nil || n > retries.Max || !mayRetry(err) {
			return a, n, err
		}
		pause := backoff(a.key, retries.Backoff, n)
		a.runner.emit(Event{Type: "retry", Stage: a.step.Name, Key: a.key.String(), Why: err.Error(),
			Attempt: n + 1, Attempts: retries.Max + 1, Seconds: pause.Seconds()})
		select {
		case <-ctx.Done():
			return a, n, ctx.Err()
		case <-time.After(pause):
		}
		a.drop()
		a = a.again()
	}
}

// again is a fresh attempt at the same step.
func (a *attempt) again() *attempt {
	b := &attempt{task: a.task, preimage: a.preimage, described: a.described}
	b.record.Preimage = a.record.Preimage
	b.log = stageLog{runner: a.runner, stage: a.step.Name}
	return b
}

// longestBackoff bounds the pause between two attempts.
const longestBackoff = 10 * time.Minute

// backoff is the pause after attempt n, which counts from 1: first, doubled with each
// attempt, less up to a half, so that stages that failed together do not come back
// together. What is taken off depends on the key and n alone.
func backoff(key cache.Key, first time.Duration, n int) time.Duration {
	pause := first
	for range n - 1 {
		pause = min(2*pause, longestBackoff)
	}
	pause = min(pause, longestBackoff)
	h := sha256.Sum256(fmt.Appendf(nil, "%s %d", key, n))
	part := float64(binary.BigEndian.Uint32(h[:4])) / (1 << 32)
	return time.Duration(float64(pause) * (1 - part/2))
}

// errTimeout is the cause of a context that ended with a stage's time.
type errTimeout struct{ after time.Duration }

func (e *errTimeout) Error() string {
	return fmt.Sprintf("it was stopped after its timeout of %s", e.after)
}

// deadline is ctx for one attempt of the stage's own code.
func (a *attempt) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.step.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, a.step.Timeout, &errTimeout{a.step.Timeout})
}

// timedOut is the error of a stage whose context was ctx: its timeout, if that is what
// ended it.
func timedOut(ctx context.Context, err error) error {
	var timeout *errTimeout
	if err != nil && errors.As(context.Cause(ctx), &timeout) {
		return timeout
	}
	return err
}
