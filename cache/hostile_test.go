//go:build unix

package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pipe/internal/manifest"

	"github.com/klauspost/compress/zstd"
)

// sandbox is a store with files around it that nothing in the store may reach.
type sandbox struct {
	*Store
	root, outside, work string
	before              string
}

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	root := inMemory(t)
	b := &sandbox{root: root, outside: filepath.Join(root, "outside"), work: filepath.Join(root, "work", "deep")}
	write(t, filepath.Join(b.outside, "canary"), "alive")
	write(t, filepath.Join(root, "work", "canary"), "alive")
	if err := os.Mkdir(b.work, 0o777); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.Store, err = Open(filepath.Join(root, "store")); err != nil {
		t.Fatal(err)
	}
	b.before = b.around(t)
	return b
}

// inMemory is a folder for a test that makes many files and loses none in a power cut.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "pipe-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// around lists everything but the store and the working folder, with its content.
func (b *sandbox) around(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(b.root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == b.dir || path == b.work {
			return filepath.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		content, _ := os.ReadFile(path)
		fmt.Fprintf(&text, "%s %s %q\n", path, info.Mode(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// plant puts a record of one output into the store, whatever the output says.
func (b *sandbox) plant(t *testing.T, output string) Key {
	t.Helper()
	key := MakeKey(exampleAction())
	body := fmt.Appendf(nil, `{"key":"%s","kind":"k","version":"1","outputs":{"out":%s}}`+"\n", key, output)
	sum := sha256.Sum256(body)
	place := b.actionPath(key)
	if err := os.MkdirAll(filepath.Dir(place), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(place, append(fmt.Appendf(nil, "%s%x\n", recordMagic, sum), body...), 0o666); err != nil {
		t.Fatal(err)
	}
	return key
}

// use does with an object all that a run, a publication and pipe get would do.
func (b *sandbox) use(t *testing.T, o Object) (served bool) {
	t.Helper()
	verified := b.Verify(o) == nil
	b.Has(o)
	for name, take := range map[string]func(Object, string) error{"links": b.Materialize, "copy": b.Copy, "place": b.Place} {
		dst := filepath.Join(b.work, name)
		if err := take(o, dst); err == nil && verified {
			served = true
		}
		b.onlyPlainFiles(t, dst)
		if name == "links" {
			_ = b.Dematerialize(o, dst) // mostly there is nothing
		}
		_ = os.RemoveAll(dst)
	}
	return served
}

func (b *sandbox) onlyPlainFiles(t *testing.T, dir string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !e.Type().IsRegular() {
			t.Errorf("%s is a %v", path, e.Type())
		}
		return nil
	})
}

func TestHostileManifestsReachNothingOutside(t *testing.T) {
	file := manifest.Sum([]byte("evil")).String()
	line := func(path string) string { return fmt.Sprintf("- %s 4 %s\n", file, path) }
	for name, lines := range map[string]string{
		"parent":                 line("../canary"),
		"parent twice":           line("../../outside/canary"),
		"parent within":          line("a/../../canary"),
		"parent at the end":      line("a/.."),
		"only the parent":        line(".."),
		"itself":                 line("."),
		"absolute":               line("/tmp/pipe-hostile"),
		"double slash":           line("a//b"),
		"leading dot":            line("./a"),
		"dot within":             line("a/./b"),
		"trailing slash":         line("a/"),
		"no name":                line(""),
		"spaces for a name":      "- " + file + " 4\n",
		"NUL":                    line("a\x00b"),
		"not UTF-8":              line("\xff"),
		"escape of nothing":      line(`a\tb`),
		"escape cut short":       line(`a\`),
		"escaped parent":         line(`..\\canary`) + line(`../canary`),
		"carriage return":        line("a\r"),
		"twice the same":         line("a") + line("a"),
		"out of order":           line("b") + line("a"),
		"file in a file":         line("a") + line("a/b"),
		"file in an empty dir":   "d a\n" + line("a/b"),
		"dir in a file":          line("a") + "d a/b\n",
		"file and folder":        line("a") + "d a\n",
		"parent as a folder":     "d ../made\n",
		"absolute folder":        "d /tmp/pipe-hostile\n",
		"link":                   "l ../canary a\n",
		"device":                 "c 1 5 zero\n",
		"pipe":                   "p fifo\n",
		"mode of two letters":    "-x " + file + " 4 a\n",
		"negative size":          "- " + file + " -4 a\n",
		"size with a sign":       "- " + file + " +4 a\n",
		"size with zeros":        "- " + file + " 04 a\n",
		"size that is too large": "- " + file + " 99999999999999999999 a\n",
		"size in hex":            "- " + file + " 0x4 a\n",
		"short digest":           "- " + file[:62] + " 4 a\n",
		"digest in capitals":     "- " + strings.ToUpper(file) + " 4 a\n",
		"digest that is a path":  "- ../../outside/canary 4 a\n",
		"cut short":              strings.TrimSuffix(line("a"), "\n"),
		"empty line":             line("a") + "\n",
		"another header":         "pipe tree 2\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := newSandbox(t)
			if _, err := b.PutBytes([]byte("evil")); err != nil {
				t.Fatal(err)
			}
			d, err := b.PutBytes([]byte("pipe tree 1\n" + lines))
			if err != nil {
				t.Fatal(err)
			}
			if b.use(t, Object{Kind: Tree, Digest: d, Size: 4}) {
				t.Error("it was served")
			}
			if r, _ := b.Lookup(b.plant(t, fmt.Sprintf(`{"kind":"tree","digest":"%s","size":4}`, d))); r != nil {
				t.Error("a record of it is a hit")
			}
			if now := b.around(t); now != b.before {
				t.Errorf("outside of the store: got\n%s\nwant\n%s", now, b.before)
			}
		})
	}
}

func TestHostileRecordsAreMisses(t *testing.T) {
	good := manifest.Sum([]byte("evil")).String()
	zeros := strings.Repeat("0", 64)
	for name, output := range map[string]string{
		"no kind":                    `{"digest":"` + good + `","size":4}`,
		"unknown kind":               `{"kind":"device","digest":"` + good + `","size":4}`,
		"negative size":              `{"kind":"file","digest":"` + good + `","size":-1}`,
		"size that is too large":     `{"kind":"file","digest":"` + good + `","size":9223372036854775808}`,
		"another size":               `{"kind":"file","digest":"` + good + `","size":5}`,
		"digest that is a path":      `{"kind":"file","digest":"../../outside/canary","size":5}`,
		"no digest":                  `{"kind":"file","size":4}`,
		"digest of nothing":          `{"kind":"file","digest":"` + zeros + `","size":4}`,
		"file for a tree":            `{"kind":"tree","digest":"` + good + `","size":4}`,
		"list for an object":         `[1,2]`,
		"nothing":                    `null`,
		"cut short":                  `{"kind":"file"`,
		"deep":                       strings.Repeat(`[`, 100_000),
		"key of another":             `{"kind":"file","digest":"` + good + `","size":4}},"key":"` + zeros + `","more":{"a":1}`,
		"a kind with other capitals": `{"kind":"FILE","digest":"` + good + `","size":4}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newSandbox(t)
			if _, err := b.PutBytes([]byte("evil")); err != nil {
				t.Fatal(err)
			}
			if r, _ := b.Lookup(b.plant(t, output)); r != nil {
				t.Errorf("a hit: %+v", r)
			}
			if now := b.around(t); now != b.before {
				t.Errorf("outside of the store: got\n%s\nwant\n%s", now, b.before)
			}
		})
	}
}

func TestBlobsThatAreNoFilesAreDamaged(t *testing.T) {
	for name, plant := range map[string]func(b *sandbox, path string) error{
		"link to a file outside":  func(b *sandbox, path string) error { return os.Symlink(filepath.Join(b.outside, "canary"), path) },
		"link to the same bytes":  func(b *sandbox, path string) error { return os.Symlink(filepath.Join(b.outside, "twin"), path) },
		"link to a device":        func(_ *sandbox, path string) error { return os.Symlink("/dev/zero", path) },
		"link to a folder":        func(b *sandbox, path string) error { return os.Symlink(b.outside, path) },
		"link to itself":          func(_ *sandbox, path string) error { return os.Symlink(path, path) },
		"pipe that nobody writes": func(_ *sandbox, path string) error { return syscall.Mkfifo(path, 0o666) },
		"folder":                  func(_ *sandbox, path string) error { return os.Mkdir(path, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newSandbox(t)
			write(t, filepath.Join(b.outside, "twin"), "evil")
			b.before = b.around(t)
			d, err := b.PutBytes([]byte("evil"))
			if err != nil {
				t.Fatal(err)
			}
			path := b.BlobPath(d)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := plant(b, path); err != nil {
				t.Fatal(err)
			}
			o := Object{Kind: File, Digest: d, Size: 4}
			if b.Has(o) {
				t.Error("it counts as there")
			}
			if r, _ := b.Lookup(b.plant(t, fmt.Sprintf(`{"kind":"file","digest":"%s","size":4}`, d))); r != nil {
				t.Error("a record of it is a hit")
			}
			if b.use(t, o) {
				t.Error("it was served")
			}
			if again, err := b.PutBytes([]byte("evil")); err != nil || again != d || b.Verify(o) != nil || !b.Has(o) {
				t.Errorf("it cannot be stored again: %v", err)
			}
			if now := b.around(t); now != b.before {
				t.Errorf("outside of the store: got\n%s\nwant\n%s", now, b.before)
			}
		})
	}
}

func TestPlaceReplacesLinksAndFollowsNone(t *testing.T) {
	b := newSandbox(t)
	d, err := b.PutBytes([]byte("good"))
	if err != nil {
		t.Fatal(err)
	}
	o := Object{Kind: File, Digest: d, Size: 4}
	to := filepath.Join(b.work, "place")
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // somebody who plants links there all the time
		for {
			select {
			case <-done:
				return
			default:
				_ = os.Remove(to)
				_ = os.Symlink(filepath.Join(b.outside, "canary"), to)
			}
		}
	})
	for range 100 {
		if err := b.Place(o, to); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
	if now := b.around(t); now != b.before {
		t.Errorf("outside of the store: got\n%s\nwant\n%s", now, b.before)
	}
}

func TestOutputsThatAreLinksLeaveTheirTargetsAlone(t *testing.T) {
	for name, plant := range map[string]func(b *sandbox, out string) error{
		"link": func(b *sandbox, out string) error {
			return os.Symlink(filepath.Join(b.outside, "canary"), filepath.Join(out, "x"))
		},
		"hard link": func(b *sandbox, out string) error {
			return os.Link(filepath.Join(b.outside, "canary"), filepath.Join(out, "x"))
		},
		"folder":     func(b *sandbox, out string) error { return os.Symlink(b.outside, filepath.Join(out, "x")) },
		"device":     func(_ *sandbox, out string) error { return os.Symlink("/dev/zero", filepath.Join(out, "x")) },
		"pipe":       func(_ *sandbox, out string) error { return syscall.Mkfifo(filepath.Join(out, "x"), 0o666) },
		"the folder": func(b *sandbox, out string) error { _ = os.Remove(out); return os.Symlink(b.outside, out) },
		"nothing at it": func(b *sandbox, out string) error {
			return os.Symlink(filepath.Join(b.outside, "none"), filepath.Join(out, "x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSandbox(t)
			dir, release, err := b.NewAttempt()
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "out")
			if err := os.Mkdir(out, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := plant(b, out); err != nil {
				t.Fatal(err)
			}
			_, _ = b.Put(context.Background(), out) // refused, or copied
			release()
			if now := b.around(t); now != b.before {
				t.Errorf("outside of the store: got\n%s\nwant\n%s", now, b.before)
			}
		})
	}
}

func TestBombsAreRefusedUnread(t *testing.T) {
	zeros := make([]byte, 1<<20)
	var streamed bytes.Buffer
	enc, err := zstd.NewWriter(&streamed)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 10 { // 1 GiB in 32 KiB, without a word about its size
		if _, err := enc.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	small, err := Compress(make([]byte, 1000))
	if err != nil {
		t.Fatal(err)
	}
	for name, frame := range map[string][]byte{
		"a GiB":             streamed.Bytes(),
		"a GiB behind more": append(bytes.Clone(small), streamed.Bytes()...),
		"two frames":        append(bytes.Clone(small), small...),
		"nothing":           nil,
		"skippable":         {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if b, err := Decompress(frame); err == nil {
			t.Errorf("%s: %d bytes were decoded", name, len(b))
		}
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 || took > time.Second {
			t.Errorf("%s: took %d bytes and %v", name, grown, took)
		}
	}
}
