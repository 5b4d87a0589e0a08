package runner

import (
	"path/filepath"
	"sync"

	"pipe/cache"
	"pipe/internal/faultfs"
)

// folder is the private folder of an attempt, with the folders in, out and scratch.
type folder struct {
	dir     string
	release func() // removes it
}

func newFolder(store *cache.Store) (f folder, err error) {
	f.dir, f.release, err = store.NewAttempt()
	if err != nil {
		return folder{}, err
	}
	for _, sub := range []string{"in", "out", "scratch"} {
		if err := faultfs.Mkdir(filepath.Join(f.dir, sub), 0o777); err != nil {
			f.release()
			return folder{}, err
		}
	}
	return f, nil
}

// folders are made while other stages run, before they are needed: a stage that follows
// another at once waits for little but its program.
type folders struct {
	store *cache.Store

	mu     sync.Mutex // guards what follows
	ahead  bool       // they may be made before they are needed
	ready  []folder
	making int
	idle   sync.Cond // making is 0
}

func newFolders(store *cache.Store, ahead bool) *folders {
	f := &folders{store: store, ahead: ahead}
	f.idle.L = &f.mu
	return f
}

// take returns a folder, which is its caller's.
func (f *folders) take() (folder, error) {
	f.mu.Lock()
	if n := len(f.ready); n > 0 {
		defer f.mu.Unlock()
		next := f.ready[n-1]
		f.ready = f.ready[:n-1]
		return next, nil
	}
	f.mu.Unlock()
	return newFolder(f.store)
}

// foresee makes a folder for one of so many stages that are still to come, beside what
// follows. Whoever has taken one calls it when its stage begins: so there are as many
// ready as there are stages under way.
func (f *folders) foresee(toCome int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ahead && int64(len(f.ready)+f.making) < toCome {
		f.making++
		go f.make()
	}
}

func (f *folders) make() {
	made, err := newFolder(f.store) // an error comes again when the folder is needed
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.ready = append(f.ready, made)
	}
	if f.making--; f.making == 0 {
		f.idle.Broadcast()
	}
}

// close removes what nobody took. Folders are still to be had, each when it is needed.
func (f *folders) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead = false
	for f.making > 0 {
		f.idle.Wait()
	}
	for _, unused := range f.ready {
		unused.release()
	}
	f.ready = nil
}
