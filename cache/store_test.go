package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

func openTest(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reopen(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func storeFolder(t *testing.T, s *Store) Object {
	t.Helper()
	dir, release, err := s.NewAttempt()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	out := filepath.Join(dir, "out")
	write(t, filepath.Join(out, "a.txt"), "a")
	write(t, filepath.Join(out, "sub", "b\n.txt"), "bb")
	write(t, filepath.Join(out, "run.sh"), "#!")
	os.Chmod(filepath.Join(out, "run.sh"), 0o755)
	os.Mkdir(filepath.Join(out, "empty"), 0o777)
	o, err := s.Put(context.Background(), out)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTreeComesBackAsItWas(t *testing.T) {
	s := openTest(t)
	o := storeFolder(t, s)
	for name, restore := range map[string]func(Object, string) error{"copy": s.Copy, "links": s.Materialize} {
		dst := filepath.Join(s.Dir(), name)
		if err := restore(o, dst); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(filepath.Join(dst, "sub", "b\n.txt")); string(b) != "bb" {
			t.Errorf("%s: got %q", name, b)
		}
		if info, err := os.Stat(filepath.Join(dst, "run.sh")); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: lost the executable bit", name)
		}
		if info, err := os.Stat(filepath.Join(dst, "empty")); err != nil || !info.IsDir() {
			t.Errorf("%s: lost the empty folder", name)
		}
		again, err := s.PinPath(context.Background(), dst, nil)
		if err != nil || again.Object != o {
			t.Errorf("%s: got %v (%v), want %v", name, again.Object, err, o)
		}
	}
	if err := s.Verify(o); err != nil {
		t.Errorf("restoring changed a blob: %v", err)
	}
}

func TestDamagedBlobIsFoundAndMovedAway(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"flipped bit": func(p string) error { return os.WriteFile(p, []byte("hellp"), 0o666) },
		"truncated":   func(p string) error { return os.Truncate(p, 2) },
		"gone":        os.Remove,
	} {
		s := openTest(t)
		d, err := s.PutBytes([]byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		o := Object{Kind: File, Digest: d, Size: 5}
		if err := s.Verify(o); err != nil {
			t.Fatal(err)
		}
		os.Chmod(s.BlobPath(d), 0o644)
		if err := damage(s.BlobPath(d)); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s)
		if err := s.Verify(o); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
		if s.Has(o) {
			t.Errorf("%s: still there", name)
		}
		if again, err := s.PutBytes([]byte("hello")); err != nil || again != d || s.Verify(o) != nil {
			t.Errorf("%s: cannot be stored again: %v", name, err)
		}
	}
}

func exampleRecord(s *Store, t *testing.T) *Record {
	key := MakeKey(exampleAction())
	return &Record{Key: key, Kind: "k", Version: "1", Outputs: map[string]Object{"out": storeFolder(t, s)}, Made: Made{Time: time.Unix(0, 0).UTC()}}
}

func TestLookupIsAMissUnlessEverythingIsThere(t *testing.T) {
	s := openTest(t)
	r := exampleRecord(s, t)
	if got, why := s.Lookup(r.Key); got != nil || why != "" {
		t.Errorf("before the commit: got %v, %q", got, why)
	}
	if _, err := s.Commit(r, false); err != nil {
		t.Fatal(err)
	}
	if got, why := s.Lookup(r.Key); got == nil {
		t.Fatalf("after the commit: %s", why)
	}
	entries, err := s.ReadTree(r.Outputs["out"].Digest)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(s.BlobPath(entries[0].Digest))
	if got, why := s.Lookup(r.Key); got != nil || !strings.Contains(why, "output out") {
		t.Errorf("with a blob gone: got %v, %q", got, why)
	}
}

func TestLookupSeesSameSizeDamageToAnUnusedOutput(t *testing.T) {
	s := openTest(t)
	r := exampleRecord(s, t)
	s.Commit(r, false)
	s = reopen(t, s)
	entries, _ := s.ReadTree(r.Outputs["out"].Digest)
	path := s.BlobPath(entries[0].Digest)
	time.Sleep(20 * time.Millisecond) // a tick of the file system's clock
	os.Chmod(path, 0o644)
	os.WriteFile(path, []byte("X"), 0o444)
	if got, why := s.Lookup(r.Key); got != nil {
		t.Errorf("a damaged output is served (%s)", why)
	}
}

func TestDamagedRecordIsAMiss(t *testing.T) {
	s := openTest(t)
	r := exampleRecord(s, t)
	s.Commit(r, false)
	path := s.actionPath(r.Key)
	good, _ := os.ReadFile(path)
	os.Chmod(path, 0o644)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 4
		os.WriteFile(path, bad, 0o644)
		if got, _ := s.Lookup(r.Key); got != nil {
			t.Fatalf("byte %d flipped: a hit", i)
		}
	}
	for n := range good {
		os.WriteFile(path, good[:n], 0o644)
		if got, _ := s.Lookup(r.Key); got != nil {
			t.Fatalf("cut to %d bytes: a hit", n)
		}
	}
}

func TestFirstCommitWins(t *testing.T) {
	s := openTest(t)
	first, second := exampleRecord(s, t), exampleRecord(s, t)
	second.Version = "2"
	s.Commit(first, false)
	if got, err := s.Commit(second, false); err != nil || got.Version != "1" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := s.Commit(second, true); err != nil || got.Version != "2" {
		t.Errorf("replace: got %v, %v", got, err)
	}
}

func TestPinReadsOnlyWhatWasTouched(t *testing.T) {
	s := openTest(t)
	path := filepath.Join(t.TempDir(), "data")
	write(t, path, "one")
	old := time.Now().Add(-time.Hour)
	os.Chtimes(path, old, old)
	s.files.now = func() time.Time { return time.Now().Add(time.Hour) } // well after the tick
	ctx := context.Background()
	pin, err := s.PinPath(ctx, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if d, ok := s.files.lookup(path); !ok || d != pin.Object.Digest {
		t.Error("the digest was not remembered")
	}
	write(t, path, "two")
	os.Chtimes(path, old, old) // same size, same mtime: the change time tells
	again, err := s.PinPath(ctx, path, nil)
	if err != nil || again.Object.Digest == pin.Object.Digest {
		t.Errorf("a same-size edit was not seen (%v)", err)
	}
}

func TestRacyFileIsReadAgain(t *testing.T) {
	s := openTest(t)
	path := filepath.Join(t.TempDir(), "data")
	write(t, path, "one")
	if _, err := s.PinPath(context.Background(), path, nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.files.lookup(path); ok {
		t.Error("a file written within the clock's tick of its hashing is trusted")
	}
}

func TestChangedSeesEditsAndForgivesTouch(t *testing.T) {
	s, dir, ctx := openTest(t), t.TempDir(), context.Background()
	write(t, filepath.Join(dir, "a"), "1")
	write(t, filepath.Join(dir, "b"), "2")
	for name, c := range map[string]struct {
		act  func()
		want string
	}{
		"touch": {func() { now := time.Now(); os.Chtimes(filepath.Join(dir, "a"), now, now) }, ""},
		"edit":  {func() { write(t, filepath.Join(dir, "a"), "3") }, filepath.Join(dir, "a")},
		"new":   {func() { write(t, filepath.Join(dir, "c"), "3") }, filepath.Join(dir, "c")},
	} {
		pin, err := s.PinPath(ctx, dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.act()
		if got, err := s.Changed(ctx, pin); err != nil || got != c.want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, c.want)
		}
	}
}

func TestLockKeyLetsOneInAtATime(t *testing.T) {
	s := openTest(t)
	key := MakeKey(exampleAction())
	var inside, most int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			unlock, err := s.LockKey(context.Background(), key, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(2 * time.Millisecond)
			mu.Lock()
			inside--
			mu.Unlock()
			unlock()
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d were inside at once", most)
	}
}

func TestSweepRemovesOnlyAbandonedAttempts(t *testing.T) {
	s := openTest(t)
	mine, release, err := s.NewAttempt()
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(s.Dir(), "attempts", "a-left")
	write(t, filepath.Join(left, "out", "x"), "x")
	os.Chmod(filepath.Join(left, "out"), 0o500)
	s.SweepAttempts()
	if _, err := os.Stat(left); err == nil {
		t.Error("an abandoned attempt stays")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error("an attempt in use is gone")
	}
	release()
	if _, err := os.Stat(mine); err == nil {
		t.Error("a released attempt stays")
	}
}

func FuzzParseRecord(f *testing.F) {
	key := MakeKey(exampleAction())
	d := manifest.Sum([]byte("d"))
	for _, r := range []*Record{
		{Key: key, Kind: "k", Version: "1", Outputs: map[string]Object{"o": {Kind: File, Size: 3}}},
		{Key: key, Kind: "k", Version: "1", Outputs: map[string]Object{}, Withheld: "a < b", Log: &d},
		{Key: key, Kind: "k", Version: "1", Withheld: "é", Made: Made{Seconds: 1e-9}},
		{Key: key, Kind: "train", Version: "3", Withheld: "no", Outputs: map[string]Object{"a": {Kind: Tree, Digest: d, Size: 0}, "b": {Kind: File, Digest: d, Size: 123}},
			Attachments: map[string]Object{"t.jsonl": {Kind: File, Digest: d, Size: 1}}, Log: &d, Preimage: &d,
			Made: Made{Time: time.Unix(1700000000, 123000000).In(time.FixedZone("", 3600)), Seconds: 0.25, Pipe: "(devel)", Tier: "avx2", StoppedBy: "time_budget"}},
	} {
		b, err := EncodeRecord(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRecord(b); (r == nil) == (err == nil) {
			t.Fatalf("record %v, error %v", r, err)
		}
		// Its sum keeps changed bytes from being read: here they are read for all that.
		_, body, _ := bytes.Cut(b, []byte("\n"))
		if r, ok := parsePlain(body); ok {
			var want Record
			if err := json.Unmarshal(body, &want); err != nil || !reflect.DeepEqual(*r, want) {
				t.Fatalf("%s\nis read as %+v\nwhere encoding/json has %+v (%v)", body, *r, want, err)
			}
		}
	})
}

func TestUsualRecordsArePlain(t *testing.T) {
	b, err := os.ReadFile("testdata/record.golden")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(b, []byte("\n"))
	if _, ok := parsePlain(body); !ok {
		t.Errorf("is left to encoding/json: %s", body)
	}
	if allocs := testing.AllocsPerRun(100, func() { parsePlain(body) }); allocs > 25 {
		t.Errorf("%v allocations a record", allocs)
	}
}

func TestRecordBytesArePinned(t *testing.T) {
	key := MakeKey(exampleAction())
	log := manifest.Sum([]byte("log"))
	b, err := EncodeRecord(&Record{Key: key, Kind: "train-qlora", Version: "3+ops1", Withheld: "no",
		Outputs:     map[string]Object{"metrics": {Kind: File, Digest: manifest.Sum([]byte("m")), Size: 9}, "checkpoints": {Kind: Tree, Digest: manifest.Sum([]byte("c")), Size: 10}},
		Attachments: map[string]Object{"timing.jsonl": {Kind: File, Digest: manifest.Sum([]byte("t")), Size: 1}},
		Log:         &log, Preimage: &log,
		Made: Made{Time: time.Unix(1700000000, 0).UTC(), Seconds: 1.5, Pipe: "dev", Tier: "avx2", StoppedBy: "max_epochs"}})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		os.WriteFile("testdata/record.golden", b, 0o666)
	}
	want, err := os.ReadFile("testdata/record.golden")
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("the action record has moved (%v)\ngot\n%s\nwant\n%s", err, b, want)
	}
}

func TestKeepStoresWhatWasPinned(t *testing.T) {
	s := openTest(t)
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "data.jsonl"), filepath.Join(dir, "folder")
	write(t, file, "one")
	write(t, filepath.Join(folder, "a"), "a")
	write(t, filepath.Join(folder, "b"), "b")
	for _, test := range []struct {
		path     string
		patterns []string
	}{{file, nil}, {folder, nil}, {folder, []string{"a*"}}} {
		pin, err := s.PinPath(context.Background(), test.path, test.patterns)
		if err != nil {
			t.Fatal(err)
		}
		if s.Has(pin.Object) {
			t.Errorf("%s %v: there before it was kept", test.path, test.patterns)
		}
		if err := s.Keep(context.Background(), pin); err != nil || !s.Has(pin.Object) || s.Verify(pin.Object) != nil {
			t.Errorf("%s %v: not kept: %v", test.path, test.patterns, err)
		}
	}
	pin, err := s.PinPath(context.Background(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	s = openTest(t)
	write(t, file, "two")
	if err := s.Keep(context.Background(), pin); err == nil || s.Has(pin.Object) {
		t.Errorf("kept what is no longer what was pinned: %v", err)
	}
}

func TestChangedIsAnErrorWhereNobodyCanTell(t *testing.T) {
	s := openTest(t)
	path := filepath.Join(t.TempDir(), "data")
	write(t, path, "one")
	pin, err := s.PinPath(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	remove := faultfs.Set(func(op *faultfs.Op, _ func() error) error { return op.Error(syscall.EMFILE) })
	moved, err := s.Changed(context.Background(), pin)
	remove()
	if moved != "" || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %q, %v", moved, err)
	}
	os.Remove(path)
	if moved, err := s.Changed(context.Background(), pin); moved != path || err != nil {
		t.Errorf("gone: got %q, %v", moved, err)
	}
}

func TestAFolderThatCannotBeMadeIsSaidOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join("nowhere", "at", "all"), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("got %v", err)
	}
}
