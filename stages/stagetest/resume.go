package stagetest

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"pipe/cache"
	"pipe/internal/golden"
	"pipe/stages"
)

// Resume holds a resumable kind to its promise: stopped at every one of its calls of
// Progress, and gone on with, it makes the bytes of a run that nobody stopped; so
// does a run that is stopped again and again, and one that is abandoned.
func Resume(t *testing.T, kind *stages.Kind, c Case) {
	t.Helper()
	whole := Execute(t, kind, c, Setting{})
	check := func(name string, got Result) {
		t.Helper()
		if got.Text != whole.Text {
			t.Errorf("%s: other bytes than a run that nobody stopped\n%s", name, golden.Diff(whole.Text, got.Text))
		}
	}
	stops := 0
	for k := 1; ; k++ {
		store := filepath.Join(t.TempDir(), "store")
		first, err := Try(t, kind, c, Setting{Store: store, StopAt: k})
		if err == nil { // it ended before
			check("stopped too late", first)
			stops = k - 1
			break
		}
		if !errors.Is(err, stages.ErrStopped) {
			t.Fatalf("stopped at %d: %v", k, err)
		}
		check("gone on with", Execute(t, kind, c, Setting{Store: store, Workers: 2}))
	}
	if stops == 0 {
		t.Fatalf("%s never stops", kind.Name)
	}
	again := filepath.Join(t.TempDir(), "store")
	for n := 0; ; n++ {
		r, err := Try(t, kind, c, Setting{Store: again, StopAt: 1})
		if err == nil {
			check("stopped again and again", r)
			break
		}
		if !errors.Is(err, stages.ErrStopped) || n > 2*stops {
			t.Fatalf("stopped %d times: %v", n, err)
		}
	}
	abandoned := filepath.Join(t.TempDir(), "store")
	for k := 1; k <= stops; k += 3 {
		if _, err := Try(t, kind, c, Setting{Store: abandoned, AbandonAt: k}); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("abandoned at %d: %v", k, err)
		}
	}
	check("abandoned", Execute(t, kind, c, Setting{Store: abandoned}))
}

// interruption ends a run when it has shown its progress so many times.
type interruption struct {
	stopAt, abandonAt int
	stop              chan struct{}
	cancel            context.CancelFunc

	mu    sync.Mutex // guards calls
	calls int
}

func (i *interruption) progress(stages.Progress) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	if i.calls == i.stopAt {
		close(i.stop)
	}
	if i.calls == i.abandonAt {
		i.cancel()
	}
}

// testState is the state of the only resumable stage of a store.
type testState struct {
	*cache.State
	discarded bool
}

func openState(t *testing.T, dir string) *testState {
	t.Helper()
	store, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	state, err := store.OpenState(context.Background(), cache.Key{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &testState{State: state}
}

func (s *testState) Load() (string, error) {
	dir, _, err := s.Newest()
	return dir, err
}

func (s *testState) Discard() { s.discarded = true }

func (s *testState) close(committed bool) {
	if committed && s.discarded {
		s.State.Discard()
	}
	s.State.Close()
}
