package cache

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pipe/internal/faultfs"
)

func TestStatIndexKeepsWhatItReadAndWhatIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stat.idx")
	entry := func(i int) statEntry {
		return statEntry{stamp: fileStamp{size: int64(i), mtime: 5, ctime: 6}, hashed: 7, digest: Digest{byte(i), byte(i >> 8)}}
	}
	const n = 3000
	put := func(from, to, generation int) {
		x := openStatIndex(path, "", true)
		for i := from; i < to; i++ {
			e := entry(i + generation)
			x.add(inode{uint64(i % 3), uint64(i)}, e.stamp, e.hashed, e.digest)
		}
		if err := x.save(); err != nil {
			t.Fatal(err)
		}
	}
	put(0, n, 0)
	put(n/2, 2*n, 1) // half of them anew
	x := openStatIndex(path, "", true)
	for i := range 2 * n {
		want := entry(i)
		if i >= n/2 {
			want = entry(i + 1)
		}
		if got, ok := x.get(inode{uint64(i % 3), uint64(i)}); !ok || got != want {
			t.Fatalf("file %d: got %+v, %v, want %+v", i, got, ok, want)
		}
		if _, ok := x.get(inode{9, uint64(i)}); ok {
			t.Fatalf("file %d of another device is known", i)
		}
	}
	if len(x.known) != 2*n*entryLen {
		t.Errorf("%d entries, want %d", len(x.known)/entryLen, 2*n)
	}
}

func TestManyFilesAreKept(t *testing.T) {
	s, dir := openTest(t), t.TempDir()
	for i := range 300 {
		write(t, filepath.Join(dir, fmt.Sprintf("d%d", i%7), fmt.Sprint(i)), fmt.Sprint(i%290)) // some are the same
	}
	pin, err := s.PinPath(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(context.Background(), pin); err != nil || !s.Has(pin.Object) || s.Verify(pin.Object) != nil {
		t.Errorf("not kept: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(s.Dir(), "blobs", ".tmp-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReadSmallReadsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, size := range []int{0, 1, 4<<10 - 1, 4 << 10, 4<<10 + 1, 100_000} {
		want := bytes.Repeat([]byte("x"), size)
		write(t, path, string(want))
		if got, err := faultfs.ReadSmall(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if _, err := faultfs.ReadSmall(path + "no"); !os.IsNotExist(err) {
		t.Errorf("absent: got %v", err)
	}
}
