package faultfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestHookSeesEveryStepAndMayRefuseIt(t *testing.T) {
	dir := t.TempDir()
	var seen []Kind
	var refuse Kind
	remove := Set(func(op *Op, act func() error) error {
		seen = append(seen, op.Kind)
		if op.Kind == refuse {
			return op.Error(syscall.EIO)
		}
		return act()
	})
	defer remove()
	if err := MkdirAll(filepath.Join(dir, "a", "b"), 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a", "b", "f")
	if err := WriteFile(file, []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	want := []Kind{StatOp, StatOp, StatOp, MkdirOp, MkdirOp, CreateOp, WriteOp, CloseOp}
	if len(seen) != len(want) {
		t.Fatalf("got %v, want %v", seen, want)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Errorf("operation %d: got %s, want %s", i, seen[i], want[i])
		}
	}
	refuse = RenameOp
	err := Rename(file, file+"2")
	var link *os.LinkError
	if !errors.Is(err, syscall.EIO) || !errors.As(err, &link) || link.New != file+"2" {
		t.Errorf("got %v", err)
	}
	refuse = RemoveOp
	if err := RemoveAll(dir); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
	refuse = ""
	if err := RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("it is still there")
	}
}

func TestShortWriteIsAnError(t *testing.T) {
	defer Set(func(op *Op, act func() error) error {
		if op.Kind == WriteOp {
			op.Data = op.Data[:2]
		}
		return act()
	})()
	f, err := CreateTemp(t.TempDir(), "x-", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := f.Write([]byte("text")); n != 2 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestCopyReadsAndWritesTheSame(t *testing.T) {
	dir := t.TempDir()
	text := make([]byte, 100_000)
	for i := range text {
		text[i] = byte(i)
	}
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := WriteFile(from, text, 0o666); err != nil {
		t.Fatal(err)
	}
	copyOver := func() {
		in, err := Open(from)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if n, err := io.Copy(out, in); n != int64(len(text)) || err != nil {
			t.Errorf("copied %d: %v", n, err)
		}
		if b, err := os.ReadFile(to); err != nil || string(b) != string(text) {
			t.Errorf("the copy is another (%v)", err)
		}
	}
	copyOver()
	writes := 0
	defer Set(func(op *Op, act func() error) error {
		if op.Kind == WriteOp {
			writes++
		}
		return act()
	})()
	copyOver()
	if writes < 2 {
		t.Errorf("the hook saw %d writes", writes)
	}
}

// Beside BenchmarkPlainStat it says what the seam costs.
func BenchmarkStat(b *testing.B) {
	dir := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Stat(dir)
	}
}

func BenchmarkPlainStat(b *testing.B) {
	dir := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = os.Stat(dir)
	}
}
