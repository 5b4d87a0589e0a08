//go:build unix

package faulttest

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"pipe/internal/faultfs"
)

// Journal notes down what a run does to the file system below a root, and what of it
// was synced. Set its Hook in faultfs; then Disk is what a power cut may leave of it.
//
// The model is that of POSIX and no more: a sync of a file makes its bytes last, a sync
// of a folder the names in it. All else may be lost, kept, or kept without what
// came before it. One change within one folder is there whole or not at all.
type Journal struct {
	root  string
	begun int // events that made what was there at the start

	mu     sync.Mutex // guards what follows, and is held while an operation is done
	events []event
	live   []liveNode // by number; the root is 0
}

// liveNode is a file or folder as the run sees it.
type liveNode struct {
	names map[string]int // of a folder
	bytes string         // of a file, when it was last looked at
}

// event is a change of the disk. Nodes are numbered as they appear.
type event struct {
	kind eventKind
	node int
	set  map[string]int // names of a folder; absent is none
	data string         // of a file
	mode os.FileMode
}

type eventKind int

const (
	madeDir eventKind = iota
	madeLink
	madeFile
	wrote      // data is all that the file holds
	chmoded    // mode is that of the file
	renamed    // the names in set, in one step
	syncedFile // what it holds lasts
	syncedDir  // its names last
)

const absent = -1

// NewJournal begins at a root, all of which is on disk.
func NewJournal(root string) *Journal {
	j := &Journal{root: root}
	j.adopt(root)
	for n, live := range j.live {
		if live.names != nil {
			j.add(event{kind: syncedDir, node: n})
		} else {
			j.add(event{kind: syncedFile, node: n})
		}
	}
	j.begun = len(j.events)
	return j
}

// Len is how many changes there were.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.events) - j.begun
}

func (j *Journal) add(e event) { j.events = append(j.events, e) }

// Hook is a faultfs.Hook. It does one operation at a time.
func (j *Journal) Hook(op *faultfs.Op, act func() error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch op.Kind {
	case faultfs.RenameOp, faultfs.LinkOp, faultfs.ExchangeOp: // see it before it moves
		j.find(op.Path)
	}
	err := act()
	switch op.Kind {
	case faultfs.CreateOp, faultfs.WriteOp, faultfs.TruncateOp:
		j.look(op.Path)
	case faultfs.MkdirOp:
		j.find(op.Path)
	case faultfs.ChmodOp:
		if info, err := os.Lstat(op.Path); err == nil {
			if n := j.find(op.Path); n != absent {
				j.add(event{kind: chmoded, node: n, mode: info.Mode().Perm()})
			}
		}
	case faultfs.SymlinkOp:
		j.find(op.To)
	}
	if err != nil {
		return err
	}
	switch op.Kind {
	case faultfs.SyncOp:
		j.synced(op.Path)
	case faultfs.RemoveOp:
		j.name(op.Path, absent)
	case faultfs.LinkOp:
		j.name(op.To, j.find(op.Path))
	case faultfs.RenameOp:
		j.move(op.Path, op.To, absent)
	case faultfs.ExchangeOp:
		j.move(op.Path, op.To, j.find(op.To))
	}
	return nil
}

// parts splits a path below the root; ok is false for another.
func (j *Journal) parts(path string) (names []string, ok bool) {
	rel, err := filepath.Rel(j.root, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return nil, false
	}
	if rel == "." {
		return nil, true
	}
	return strings.Split(rel, "/"), true
}

// find returns the node at a path. What others than the seam made is taken in as it
// is, not synced. absent means that there is nothing.
func (j *Journal) find(path string) int {
	names, ok := j.parts(path)
	if !ok {
		return absent
	}
	at := 0
	for i, name := range names {
		next, known := j.live[at].names[name]
		if !known {
			if j.live[at].names == nil {
				return absent
			}
			if next = j.adopt(filepath.Join(append([]string{j.root}, names[:i+1]...)...)); next == absent {
				return absent
			}
			j.set(at, map[string]int{name: next})
		}
		at = next
	}
	return at
}

// adopt makes nodes of what is at a path and returns the first.
func (j *Journal) adopt(path string) int {
	info, err := os.Lstat(path)
	if err != nil {
		return absent
	}
	n := len(j.live)
	j.live = append(j.live, liveNode{})
	switch {
	case info.IsDir():
		j.add(event{kind: madeDir, node: n, mode: info.Mode().Perm()})
		j.live[n].names = map[string]int{}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			if child := j.adopt(filepath.Join(path, e.Name())); child != absent {
				j.set(n, map[string]int{e.Name(): child})
			}
		}
	case info.Mode()&os.ModeSymlink != 0:
		says, _ := os.Readlink(path)
		j.add(event{kind: madeLink, node: n, data: says})
	default:
		j.add(event{kind: madeFile, node: n, mode: info.Mode().Perm()})
		j.read(n, path)
	}
	return n
}

// look reads a file that may have changed.
func (j *Journal) look(path string) int {
	n := j.find(path)
	if n != absent && j.live[n].names == nil {
		j.read(n, path)
	}
	return n
}

func (j *Journal) read(n int, path string) {
	if b, err := os.ReadFile(path); err == nil && string(b) != j.live[n].bytes {
		j.live[n].bytes = string(b)
		j.add(event{kind: wrote, node: n, data: string(b)})
	}
}

func (j *Journal) synced(path string) {
	n := j.look(path)
	switch {
	case n == absent:
	case j.live[n].names != nil:
		j.add(event{kind: syncedDir, node: n})
	default:
		j.add(event{kind: syncedFile, node: n})
	}
}

// set gives names in a folder to nodes, in one step.
func (j *Journal) set(dir int, names map[string]int) {
	for name, n := range names {
		if n == absent {
			delete(j.live[dir].names, name)
		} else {
			j.live[dir].names[name] = n
		}
	}
	j.add(event{kind: renamed, node: dir, set: names})
}

func (j *Journal) name(path string, n int) {
	if dir := j.find(filepath.Dir(path)); dir != absent && j.live[dir].names != nil {
		j.set(dir, map[string]int{filepath.Base(path): n})
	}
}

// move gives to the node at from, and from the node back. Where folders differ, the
// two changes are two.
func (j *Journal) move(from, to string, back int) {
	n := j.known(from)
	if n == absent {
		return
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		j.set(j.find(filepath.Dir(to)), map[string]int{filepath.Base(from): back, filepath.Base(to): n})
		return
	}
	j.name(to, n)
	j.name(from, back)
}

// known is find without a look at the disk.
func (j *Journal) known(path string) int {
	names, ok := j.parts(path)
	if !ok {
		return absent
	}
	at := 0
	for _, name := range names {
		next, ok := j.live[at].names[name]
		if !ok {
			return absent
		}
		at = next
	}
	return at
}
