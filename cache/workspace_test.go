package cache

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pipe/internal/faultfs"
)

func TestAFewLargeFilesAreHashedSideBySide(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one processor")
	}
	s, err := Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var opened atomic.Int32
	both := make(chan struct{})
	defer faultfs.Set(func(op *faultfs.Op, act func() error) error {
		if op.Kind == faultfs.OpenOp && strings.HasPrefix(op.Path, dir) {
			if opened.Add(1) == 2 {
				close(both)
			}
			select {
			case <-both:
			case <-time.After(20 * time.Second):
				t.Error("one file is read after the other")
			}
		}
		return act()
	})()
	if _, err := s.PinPath(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
}
