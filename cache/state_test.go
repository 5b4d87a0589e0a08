package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func openTestState(t *testing.T, dir string) *State {
	t.Helper()
	store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	state, err := store.OpenState(context.Background(), Key{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// commitNumber commits a state of two files, of which "old" is kept from the first.
func commitNumber(t *testing.T, st *State, n int) {
	t.Helper()
	var keep []string
	if n > 1 {
		keep = []string{"dir/old"}
	}
	err := st.Commit(keep, func(dir string) error {
		if n == 1 {
			os.Mkdir(filepath.Join(dir, "dir"), 0o777)
			os.WriteFile(filepath.Join(dir, "dir", "old"), []byte("kept"), 0o666)
		}
		return os.WriteFile(filepath.Join(dir, "n"), []byte(strconv.Itoa(n)), 0o666)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// newest returns the number that the newest good commit holds, "" if there is none.
func newest(t *testing.T, st *State) string {
	t.Helper()
	dir, _, err := st.Newest()
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		return ""
	}
	b, err1 := os.ReadFile(filepath.Join(dir, "n"))
	old, err2 := os.ReadFile(filepath.Join(dir, "dir", "old"))
	if err := errors.Join(err1, err2); err != nil || string(old) != "kept" {
		t.Fatalf("got %q, %v", old, err)
	}
	return string(b)
}

func TestTheNewestStateIsGoneOnFrom(t *testing.T) {
	dir := t.TempDir()
	st := openTestState(t, dir)
	if got := newest(t, st); got != "" {
		t.Errorf("got %q of nothing", got)
	}
	for n := 1; n <= 5; n++ {
		commitNumber(t, st, n)
		if got := newest(t, st); got != strconv.Itoa(n) {
			t.Errorf("got %q, want %d", got, n)
		}
	}
	if commits, _ := st.commits(); len(commits) != keptCommits {
		t.Errorf("got %d commits, want %d", len(commits), keptCommits)
	}
	st.Close()
	st = openTestState(t, dir)
	defer st.Close()
	if got := newest(t, st); got != "5" {
		t.Errorf("opened again: got %q", got)
	}
	if err := st.Discard(); err != nil || newest(t, st) != "" {
		t.Errorf("discarded: %v", err)
	}
}

func TestADamagedStateGivesWayToTheOneBefore(t *testing.T) {
	damages := map[string]func(path string) error{
		"gone":      os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 0) },
		"flipped": func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				b[len(b)-1] ^= 1
				os.Remove(path) // the one before may share it
				err = os.WriteFile(path, b, 0o666)
			}
			return err
		},
	}
	for name, damage := range damages {
		for _, file := range []string{"manifest", "files/n", "files/dir/old"} {
			if name == "truncated" && file == "files/dir/old" {
				continue // both commits have it
			}
			st := openTestState(t, t.TempDir())
			commitNumber(t, st, 1)
			commitNumber(t, st, 2)
			if err := damage(filepath.Join(st.commit(2), filepath.FromSlash(file))); err != nil {
				t.Fatal(err)
			}
			if _, damaged, _ := st.Newest(); damaged != 1 || newest(t, st) != "1" {
				t.Errorf("%s %s: got commit %s, %d damaged", file, name, newest(t, st), damaged)
			}
			commitNumber(t, st, 3)
			st.Close()
		}
	}
	st := openTestState(t, t.TempDir())
	defer st.Close()
	commitNumber(t, st, 1)
	os.WriteFile(filepath.Join(st.commit(1), "files", "more"), nil, 0o666)
	if got := newest(t, st); got != "" {
		t.Errorf("a file too many went unnoticed: %s", got)
	}
}

func TestACommitThatFailsLeavesTheOneBefore(t *testing.T) {
	st := openTestState(t, t.TempDir())
	defer st.Close()
	commitNumber(t, st, 1)
	full := errors.New("the disk is full")
	err := st.Commit([]string{"dir/old"}, func(dir string) error {
		os.WriteFile(filepath.Join(dir, "n"), []byte("2"), 0o666)
		return full
	})
	if !errors.Is(err, full) || newest(t, st) != "1" {
		t.Errorf("got %v, commit %s", err, newest(t, st))
	}
	// What a killed process leaves of a commit is no commit, and goes with the next.
	left := filepath.Join(st.dir, ".tmp-killed")
	os.MkdirAll(filepath.Join(left, stateFiles), 0o777)
	if newest(t, st) != "1" {
		t.Error("half a commit counts")
	}
	commitNumber(t, st, 2)
	if _, err := os.Stat(left); err == nil {
		t.Error("half a commit stays")
	}
}

func TestAStateHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	st := openTestState(t, dir)
	store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	holder := ""
	if _, err := store.OpenState(ctx, Key{1}, func(h string) { holder = h }); !errors.Is(err, context.DeadlineExceeded) || holder == "" {
		t.Errorf("got %v, holder %q", err, holder)
	}
	st.Close()
	again := openTestState(t, dir)
	again.Close()
}

func TestFolderOutlivesCommits(t *testing.T) {
	st := openTestState(t, t.TempDir())
	defer st.Close()
	work, err := st.Folder()
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(work, "x"), []byte("1"), 0o666)
	commitNumber(t, st, 1)
	commitNumber(t, st, 2)
	if b, err := os.ReadFile(filepath.Join(work, "x")); string(b) != "1" {
		t.Errorf("got %q, %v", b, err)
	}
}

func FuzzStateManifest(f *testing.F) {
	dir := f.TempDir()
	store, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	st, err := store.OpenState(context.Background(), Key{1}, nil)
	if err != nil {
		f.Fatal(err)
	}
	defer st.Close()
	if err := st.Commit(nil, func(dir string) error { return os.WriteFile(filepath.Join(dir, "n"), []byte("x"), 0o666) }); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(st.commit(1), stateManifest))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		parseStateManifest(b) // must not panic; what it accepts is a checked manifest
	})
}
