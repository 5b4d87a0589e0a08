package runner

import (
	"context"
	"path/filepath"

	"pipe/cache"
	"pipe/internal/faultfs"
	"pipe/pipeline"
)

// keptState is the stages.State of an attempt. Beside the stage's files it keeps the
// log, so that the record of a stage that was interrupted tells the whole story.
type keptState struct {
	attempt   *attempt
	state     *cache.State
	saved     bool // there is something to go on from
	described bool // the state says whose it is
	discarded bool
}

// In a commit of a state.
const (
	stateOwnFiles = "files"
	stateLogFile  = "log.jsonl"
)

// openState takes the state of a resumable step. fresh throws away what is there.
func (a *attempt) openState(ctx context.Context, fresh bool) (*keptState, error) {
	var state *cache.State
	waiting := func(holder string) {
		a.log.show("info", "another run has the state of this stage; waiting for it", "holder", holder)
	}
	err := a.runner.bounded(ctx, waiting, func(ctx context.Context, waiting func(string)) (err error) {
		state, err = a.runner.Store.OpenState(ctx, stateKey(a.step, a.inputs, a.world), waiting)
		return err
	})
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := state.Discard(); err != nil {
			state.Close()
			return nil, err
		}
	}
	return &keptState{attempt: a, state: state}, nil
}

func (k *keptState) Load() (string, error) {
	dir, damaged, err := k.state.Newest()
	if damaged > 0 {
		k.attempt.log.Warn("the newest saved state is damaged; going on from the one before it, or from the start", "damaged", damaged)
	}
	if err != nil || dir == "" {
		return "", faultOf(err)
	}
	k.saved = true
	if b, err := faultfs.ReadFile(filepath.Join(dir, stateLogFile)); err == nil {
		k.attempt.log.resume(b)
	}
	return filepath.Join(dir, stateOwnFiles), nil
}

func (k *keptState) Commit(keep []string, write func(dir string) error) error {
	paths := make([]string, len(keep))
	for i, name := range keep {
		paths[i] = stateOwnFiles + "/" + name
	}
	var failed error // of the stage
	err := k.state.Commit(paths, func(dir string) error {
		own := filepath.Join(dir, stateOwnFiles)
		if err := faultfs.MkdirAll(own, 0o777); err != nil {
			return err
		}
		if failed = write(own); failed != nil {
			return failed
		}
		return faultfs.WriteFile(filepath.Join(dir, stateLogFile), k.attempt.log.lines(), 0o666)
	})
	k.saved = k.saved || err == nil
	if err == nil && !k.described {
		k.described = k.describe(false) == nil
	}
	if failed != nil {
		return err
	}
	return faultOf(err)
}

func (k *keptState) Folder() (string, error) {
	k.saved = true // whatever the program puts there stays
	dir, err := k.state.Folder()
	return dir, faultOf(err)
}

func (k *keptState) Discard() { k.discarded = true }

// close lets the state go, and removes it if its stage is committed and has no more
// use for it.
func (k *keptState) close(committed bool) {
	if committed && k.discarded {
		_ = k.state.Discard() // it is only room
	} else if committed {
		_ = k.describe(true) // else it counts as unfinished, and stays longer
	}
	k.state.Close()
}

// describe notes whose the state is.
func (k *keptState) describe(done bool) error {
	return k.state.Describe(cache.StateAbout{Kind: k.attempt.step.Kind.Name, Key: k.attempt.key, Done: done})
}

// stateKey names the state of a resumable step.
func stateKey(s *pipeline.Step, inputs []boundInput, env environment) cache.Key {
	d := describe(s, env)
	d.Params = s.Params.StateKey()
	return cache.StateKey(d, contentsOf(nil, inputs))
}

// stopped says whether the run is asked to end.
func (r *Runner) stopped() bool {
	select {
	case <-r.Stop:
		return true
	default:
		return false
	}
}

// untilStop returns a context that ends with ctx and with the run's Stop.
func (r *Runner) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-r.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
