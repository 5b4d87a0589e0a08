package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// StateKey names the state of a resumable action. d's parameters are those of the
// action less the ones that only say when to stop.
func StateKey(d Description, inputs []InputContent) Key {
	return named(stateKeyMagic, d, byPort(inputs))
}

// State is what an unfinished action has kept, to be gone on from. It is the
// caller's alone until Close. Form: docs/cache-format.md, "State".
type State struct {
	dir    string
	unlock func()
}

// Names in a state's folder, and in a commit's.
const (
	stateDir      = "state"
	stateWork     = "work"
	stateManifest = "manifest"
	stateFiles    = "files"
	stateMagic    = "pipe state 1 "
	stateDigits   = 12
	keptCommits   = 2 // the one before the newest is there if the newest is damaged
)

// OpenState waits until no other process has the state and takes it. It makes
// nothing: a state that is never committed leaves nothing behind.
func (s *Store) OpenState(ctx context.Context, k Key, waiting func(holder string)) (*State, error) {
	unlock, err := Lock(ctx, filepath.Join(s.dir, "locks", k.String()+".state"), true, waiting)
	if err != nil {
		return nil, err
	}
	return &State{dir: filepath.Join(s.dir, stateDir, k.String()), unlock: unlock}, nil
}

// Close lets others have the state.
func (st *State) Close() { st.unlock() }

// Discard removes the state: nothing could be gone on from it.
func (st *State) Discard() error { return faultfs.RemoveAll(st.dir) }

// Folder returns a folder of the state that stays as it is left, for programs that
// keep their own order in it. Commits do not touch it.
func (st *State) Folder() (string, error) {
	dir := filepath.Join(st.dir, stateWork)
	return dir, faultfs.MkdirAll(dir, 0o777)
}

// Newest returns the folder of the newest commit whose bytes are all right, to be
// read only, or "". damaged counts newer commits that were passed over; they are
// removed.
func (st *State) Newest() (dir string, damaged int, err error) {
	commits, err := st.commits()
	if err != nil {
		return "", 0, err
	}
	for _, n := range slices.Backward(commits) {
		at := st.commit(n)
		err := checkCommit(at, nil)
		if err == nil {
			return filepath.Join(at, stateFiles), damaged, nil
		}
		if !errors.Is(err, errBadCommit) && !errors.Is(err, fs.ErrNotExist) {
			return "", damaged, err // of the disk or the process, today: the commit may be whole
		}
		damaged++
		if err := faultfs.RemoveAll(at); err != nil {
			return "", damaged, err
		}
	}
	return "", damaged, nil
}

// Commit adds a commit, complete and on disk or not at all: the files of the newest
// commit that keep names, and what write puts into dir besides. Files in dir must
// not be changed after write returns; those of keep not even by write. The commit
// before stays until this one has been read back.
func (st *State) Commit(keep []string, write func(dir string) error) error {
	commits, err := st.commits()
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(st.dir); err != nil {
		return err
	}
	st.sweep()
	temp, err := faultfs.MkdirTemp(st.dir, atomicfile.TempPrefix)
	if err != nil {
		return err
	}
	defer faultfs.RemoveAll(temp)
	files := filepath.Join(temp, stateFiles)
	if err := faultfs.Mkdir(files, 0o777); err != nil {
		return err
	}
	var kept []manifest.Entry
	next := 1
	if n := len(commits); n > 0 {
		next = commits[n-1] + 1
		if kept, err = st.keep(commits[n-1], keep, files); err != nil {
			return err
		}
	} else if len(keep) > 0 {
		return fmt.Errorf("internal error: state: nothing to keep %q of", keep)
	}
	if err := write(files); err != nil {
		return err
	}
	if err := seal(temp, kept); err != nil {
		return err
	}
	if err := checkCommit(temp, kept); err != nil {
		return fmt.Errorf("state: what was written does not read back: %w", err)
	}
	if err := faultfs.Rename(temp, st.commit(next)); err != nil {
		return err
	}
	if err := errors.Join(atomicfile.SyncDir(st.dir), atomicfile.SyncDir(filepath.Dir(st.dir))); err != nil {
		return err
	}
	for _, n := range commits[:max(len(commits)-keptCommits+1, 0)] {
		_ = faultfs.RemoveAll(st.commit(n)) // the next commit tries again
	}
	return nil
}

// errBadCommit is wrapped by errors that say that a commit's bytes are wrong.
var errBadCommit = errors.New("damaged")

// keep links files of a commit into a new one and returns their entries.
func (st *State) keep(from int, names []string, to string) ([]manifest.Entry, error) {
	if len(names) == 0 {
		return nil, nil
	}
	entries, err := readManifest(st.commit(from))
	if err != nil {
		return nil, err
	}
	var kept []manifest.Entry
	for _, name := range names {
		i := slices.IndexFunc(entries, func(e manifest.Entry) bool { return e.Path == name })
		if i < 0 {
			return nil, fmt.Errorf("internal error: state: there is no %q to keep", name)
		}
		at := filepath.FromSlash(name)
		if err := faultfs.MkdirAll(filepath.Dir(filepath.Join(to, at)), 0o777); err != nil {
			return nil, err
		}
		src, dst := filepath.Join(st.commit(from), stateFiles, at), filepath.Join(to, at)
		if faultfs.Link(src, dst) != nil {
			if err := copyFile(src, dst, 0o666); err != nil {
				return nil, err
			}
		}
		kept = append(kept, entries[i])
	}
	return kept, nil
}

// seal writes a commit's manifest and makes everything in it last.
func seal(dir string, kept []manifest.Entry) error {
	files := filepath.Join(dir, stateFiles)
	entries := slices.Clone(kept)
	folders := map[string]bool{files: true}
	err := manifest.Walk(files, func(rel string, mode byte) error {
		path := filepath.Join(files, filepath.FromSlash(rel))
		for d := filepath.Dir(path); len(d) > len(files); d = filepath.Dir(d) {
			folders[d] = true
		}
		if slices.ContainsFunc(kept, func(e manifest.Entry) bool { return e.Path == rel }) {
			return nil
		}
		e := manifest.Entry{Path: rel, Mode: mode}
		if mode != 'd' {
			var err error
			if e.Digest, e.Size, err = hashSynced(path); err != nil {
				return err
			}
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return err
	}
	body := manifest.Encode(entries)
	text := append(fmt.Appendf(nil, "%s%s\n", stateMagic, manifest.Sum(body)), body...)
	if err := atomicfile.Write(filepath.Join(dir, stateManifest), text, 0o666); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(folders)) {
		if err := atomicfile.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// hashSynced syncs a file and returns the digest of its bytes.
func hashSynced(path string) (d Digest, size int64, err error) {
	f, err := faultfs.Open(path)
	if err != nil {
		return d, 0, err
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	err = atomicfile.CloseSynced(f, err)
	h.Sum(d[:0])
	return d, size, err
}

// readManifest reads what a commit says it holds.
func readManifest(dir string) ([]manifest.Entry, error) {
	b, err := faultfs.ReadFile(filepath.Join(dir, stateManifest))
	if err != nil {
		return nil, err
	}
	return parseStateManifest(b)
}

func parseStateManifest(b []byte) ([]manifest.Entry, error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	sum, magic := bytes.CutPrefix(head, []byte(stateMagic))
	if got := sha256.Sum256(body); !ok || !magic || hex.EncodeToString(got[:]) != string(sum) {
		return nil, fmt.Errorf("state: manifest: %w", errBadCommit)
	}
	entries, err := manifest.Parse(body)
	if err != nil {
		err = fmt.Errorf("%w: %w", errBadCommit, err)
	}
	return entries, err
}

// checkCommit checks every byte of a commit but those of the files in known, and
// that nothing else lies in it.
func checkCommit(dir string, known []manifest.Entry) error {
	entries, err := readManifest(dir)
	if err != nil {
		return err
	}
	listed := map[string]manifest.Entry{}
	for _, e := range entries {
		listed[e.Path] = e
	}
	err = manifest.Walk(filepath.Join(dir, stateFiles), func(rel string, mode byte) error {
		e, ok := listed[rel]
		if !ok || (e.Mode == 'd') != (mode == 'd') {
			return fmt.Errorf("state: %s is not of the commit: %w", rel, errBadCommit)
		}
		delete(listed, rel)
		if mode == 'd' || slices.Contains(known, e) {
			return nil
		}
		return checkFile(filepath.Join(dir, stateFiles, filepath.FromSlash(rel)), e)
	})
	if err == nil && len(listed) > 0 {
		err = fmt.Errorf("state: %d files are missing: %w", len(listed), errBadCommit)
	}
	return err
}

func checkFile(path string, e manifest.Entry) error {
	f, err := faultfs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err == nil && (size != e.Size || !bytes.Equal(h.Sum(nil), e.Digest[:])) {
		err = fmt.Errorf("state: %s: %w", e.Path, errBadCommit)
	}
	return err
}

// commits lists the numbers of the commits there are, rising.
func (st *State) commits() ([]int, error) {
	entries, err := faultfs.ReadDir(st.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && len(e.Name()) == stateDigits && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

func (st *State) commit(n int) string {
	return filepath.Join(st.dir, fmt.Sprintf("%0*d", stateDigits, n))
}

// sweep removes commits that a killed process did not complete.
func (st *State) sweep() {
	entries, _ := faultfs.ReadDir(st.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), atomicfile.TempPrefix) {
			_ = faultfs.RemoveAll(filepath.Join(st.dir, e.Name())) // in the way of nothing
		}
	}
}
