package cache

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
)

// StateAbout says whose a state is. The state itself can do without.
type StateAbout struct {
	Kind string `json:"kind"` // of the stage
	Key  Key    `json:"key"`  // of the action that had it last
	Done bool   `json:"done"` // the action is committed; a larger budget may go on from here
}

const stateAboutName = "about"

// Describe notes whose the state is. A state that was never committed stays away.
func (st *State) Describe(about StateAbout) error {
	if _, err := faultfs.Stat(st.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b, err := json.Marshal(about)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(st.dir, stateAboutName), append(b, '\n'), 0o666)
}

// ScratchState is a state in a folder of the caller's, in no store. dir need not be
// there.
func ScratchState(dir string) *State { return &State{dir: dir, unlock: func() {}} }

// StateUse is a state as an Inventory finds it.
type StateUse struct {
	Key     Key // of the state, not of an action
	About   StateAbout
	Size    int64     // in bytes
	Changed time.Time // when its newest file was written
}

// states lists the states of a store.
func (s *Store) states() ([]StateUse, error) {
	entries, err := faultfs.ReadDir(filepath.Join(s.dir, stateDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var states []StateUse
	for _, e := range entries {
		var u StateUse
		if u.Key.UnmarshalText([]byte(e.Name())) != nil {
			continue
		}
		dir := filepath.Join(s.dir, stateDir, e.Name())
		if b, err := faultfs.ReadFile(filepath.Join(dir, stateAboutName)); err == nil && json.Unmarshal(b, &u.About) != nil {
			u.About = StateAbout{} // nobody knows whose it is
		}
		u.Size, u.Changed = folderUse(dir)
		states = append(states, u)
	}
	return states, nil
}

// folderUse adds up the sizes of the files below dir, each once however many names it
// has, and finds the newest. What vanishes meanwhile is left out.
func folderUse(dir string) (size int64, changed time.Time) {
	seen := map[inode]bool{}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if info.ModTime().After(changed) {
			changed = info.ModTime()
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		if linkCount(info) > 1 {
			if id, _, err := statFile(path); err == nil {
				if seen[id] {
					return nil
				}
				seen[id] = true
			}
		}
		size += info.Size()
		return nil
	})
	return size, changed
}
