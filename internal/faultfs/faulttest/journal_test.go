//go:build unix

package faulttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
)

// states are all that power cuts after a sequence of operations may leave of the files
// in a folder, each as "name=content …".
func states(t *testing.T, work func(dir string) error) map[string]bool {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("OLD"), 0o666); err != nil {
		t.Fatal(err)
	}
	j := NewJournal(dir)
	remove := faultfs.Set(j.Hook)
	err := work(dir)
	remove()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seed := range uint64(150) {
		cut := filepath.Join(filepath.Dir(dir), fmt.Sprint(seed))
		if err := j.Disk(j.Len()).Cut(seed, cut); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(cut)
		if err != nil {
			t.Fatal(err)
		}
		var files []string
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), atomicfile.TempPrefix) {
				continue
			}
			b, _ := os.ReadFile(filepath.Join(cut, e.Name()))
			files = append(files, e.Name()+"="+string(b))
		}
		seen[strings.Join(files, " ")] = true
	}
	return seen
}

func TestPowerCutLeavesWhatWasSynced(t *testing.T) {
	got := states(t, func(dir string) error { return atomicfile.Write(filepath.Join(dir, "old"), []byte("NEW"), 0o666) })
	if len(got) != 1 || !got["old=NEW"] {
		t.Errorf("got %v", got)
	}
}

func TestPowerCutMayTakeWhatWasNotSynced(t *testing.T) {
	got := states(t, func(dir string) error { return faultfs.WriteFile(filepath.Join(dir, "new"), []byte("NEW"), 0o666) })
	for _, want := range []string{"old=OLD", "new= old=OLD", "new=NEW old=OLD", "new=\x00\x00\x00 old=OLD"} {
		if !got[want] {
			t.Errorf("%q never happens", want)
		}
	}
	if got["new=NEW"] {
		t.Error("what was there before is gone")
	}
}

func TestPowerCutAfterRenameWithoutSyncMayLeaveNothing(t *testing.T) {
	got := states(t, func(dir string) error {
		temp := filepath.Join(dir, atomicfile.TempPrefix)
		if err := faultfs.WriteFile(temp, []byte("NEW"), 0o666); err != nil {
			return err
		}
		return faultfs.Rename(temp, filepath.Join(dir, "old"))
	})
	for _, want := range []string{"old=OLD", "old=NEW", "old="} {
		if !got[want] {
			t.Errorf("%q never happens", want)
		}
	}
	if got[""] {
		t.Error("a rename in one folder was half done")
	}
}

func TestPowerCutKeepsTheOldNameOrTheNew(t *testing.T) {
	got := states(t, func(dir string) error { return faultfs.Rename(filepath.Join(dir, "old"), filepath.Join(dir, "new")) })
	if len(got) != 2 || !got["old=OLD"] || !got["new=OLD"] {
		t.Errorf("got %v", got)
	}
}

func TestPowerCutLeavesWhatWasAppendedTo(t *testing.T) {
	got := states(t, func(dir string) error {
		f, err := faultfs.OpenFile(filepath.Join(dir, "old"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.Write([]byte("+NEW"))
		return errors.Join(err, f.Close())
	})
	for _, want := range []string{"old=OLD", "old=OLD+NEW", "old=OLD\x00\x00\x00\x00"} {
		if !got[want] {
			t.Errorf("%q never happens", want)
		}
	}
	for state := range got {
		if !strings.HasPrefix(state, "old=OLD") {
			t.Errorf("got %q", state)
		}
	}
}
