package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pipe/internal/faultfs"
)

// commitBlobs stores a record of a key whose outputs are files of these texts.
func commitBlobs(t *testing.T, s *Store, key byte, made time.Time, texts ...string) *Record {
	t.Helper()
	r := &Record{Key: Key{key}, Kind: "k", Version: "1", Outputs: map[string]Object{}, Made: Made{Time: made}}
	for i, text := range texts {
		d, err := s.PutBytes([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Outputs[fmt.Sprint("o", i)] = Object{Kind: File, Digest: d, Size: int64(len(text))}
	}
	if _, err := s.Commit(r, true); err != nil {
		t.Fatal(err)
	}
	return r
}

// collect collects with what is known and limits, and returns the first bytes of the
// keys of the records that went.
func collect(t *testing.T, s *Store, known Known, limits Limits, now time.Time) string {
	t.Helper()
	c, err := s.Collect(context.Background(), func(inv *Inventory) (*Collection, error) { return inv.Plan(known, limits, now) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, h := range c.Records {
		keys = append(keys, fmt.Sprint(h.Key[0]))
	}
	return strings.Join(keys, " ")
}

func TestWhatNothingNeedsGoesAndNothingElse(t *testing.T) {
	s := openTest(t)
	folder := exampleRecord(s, t)
	if _, err := s.Commit(folder, false); err != nil {
		t.Fatal(err)
	}
	replaced := commitBlobs(t, s, 1, time.Now(), "before")
	commitBlobs(t, s, 1, time.Now(), "after")
	kept, _ := s.PutBytes([]byte("an input"))
	known := Known{Objects: []KnownObject{{Object: Object{Kind: File, Digest: kept, Size: 8}}}}
	if got := collect(t, s, known, Limits{}, time.Now()); got != "" {
		t.Errorf("records went: %s", got)
	}
	if s.hasBlob(replaced.Outputs["o0"].Digest, -1) {
		t.Error("what was replaced is still there")
	}
	if !s.hasBlob(kept, 8) || !s.Has(folder.Outputs["out"]) {
		t.Error("what is needed has gone")
	}
	for _, k := range []Key{folder.Key, {1}} {
		if r, why := s.Lookup(k); r == nil {
			t.Errorf("%s: %s", k.Short(), why)
		}
	}
}

func TestPlanTakesTheLargestAndLeastUsedFirst(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ago := func(h int) time.Time { return now.Add(-time.Duration(h) * time.Hour) }
	text := func(c string, n int) string { return strings.Repeat(c, n) }
	for name, c := range map[string]struct {
		known  Known
		limits Limits
		want   string
	}{
		"no limit":                  {},
		"room for all":              {limits: Limits{Size: 1 << 20}},
		"large and old before both": {limits: Limits{Size: 45_000}, want: "1"},
		"then large × age":          {limits: Limits{Size: 20_000}, want: "1 3"},
		"use counts, not birth":     {limits: Limits{Size: 45_000}, known: Known{Used: map[Key]time.Time{{1}: now}}, want: "3"},
		"a name shared by two":      {limits: Limits{Size: 1}, want: "1 3 2 4 5"},
		"the newest runs' go last":  {limits: Limits{Size: 1}, known: Known{Current: map[Key]bool{{1}: true}}, want: "3 2 4 5 1"},
		"fixed ones never go":       {limits: Limits{Size: 1, Before: now}, known: Known{Fixed: map[Key]bool{{1}: true, {4}: true}}, want: "2 3 5"},
		"by age":                    {limits: Limits{Before: ago(50)}, want: "1 2"},
	} {
		s := openTest(t)
		commitBlobs(t, s, 1, ago(100), text("a", 30_000))
		commitBlobs(t, s, 2, ago(100), text("b", 1_000))
		commitBlobs(t, s, 3, ago(10), text("c", 20_000))
		commitBlobs(t, s, 4, ago(9), text("d", 9_000))
		commitBlobs(t, s, 5, ago(9), text("d", 9_000))
		if got := collect(t, s, c.known, c.limits, now); got != c.want {
			t.Errorf("%s: went %q, want %q", name, got, c.want)
		}
		check, err := s.CheckAll(context.Background(), CheckOptions{})
		if err != nil || len(check.Bad) > 0 {
			t.Errorf("%s: afterwards %v, %v", name, check.Bad, err)
		}
	}
}

func TestACollectionMindsWhatIsLookedUpAndPutMeanwhile(t *testing.T) {
	s := openTest(t)
	hit := commitBlobs(t, s, 1, time.Time{}, "hit")
	commitBlobs(t, s, 2, time.Time{}, "gone")
	loose, _ := s.PutBytes([]byte("loose"))

	run := reopen(t, s)
	release, err := run.Hold()
	if err != nil {
		t.Fatal(err)
	}
	ended := reopen(t, s)
	endedRelease, err := ended.Hold()
	if err != nil {
		t.Fatal(err)
	}
	var ending *Record
	c, err := s.Collect(context.Background(), func(inv *Inventory) (*Collection, error) {
		c, err := inv.Plan(Known{}, Limits{Size: 1}, time.Now())
		// Now that all is chosen, runs begin to use it.
		if r, why := run.Lookup(hit.Key); r == nil {
			t.Errorf("before the sweep: %s", why)
		}
		ending = commitBlobs(t, ended, 3, time.Now(), "loose")
		endedRelease()
		return c, err
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !run.Has(hit.Outputs["o0"]) {
		t.Error("what a run had looked up has gone")
	}
	if !s.hasBlob(loose, 5) {
		t.Error("what a run that has ended had put has gone")
	}
	if r, why := s.Lookup(ending.Key); r == nil {
		t.Errorf("its record: %s", why)
	}
	if len(c.Records) != 1 || c.Spared == 0 {
		t.Errorf("removed %d records, spared %d", len(c.Records), c.Spared)
	}
	release()
	if got := collect(t, s, Known{}, Limits{Size: 1}, time.Now()); got != "1 3" && got != "3 1" {
		t.Errorf("after the runs: went %q", got)
	}
	if left, _ := os.ReadDir(filepath.Join(s.Dir(), "locks", leasesName)); len(left) > 0 {
		t.Errorf("leases are left: %v", left)
	}
}

func TestACollectionThatIsCutShortLeavesAGoodStore(t *testing.T) {
	s := openTest(t)
	for i := range 3 * sweepBatch {
		commitBlobs(t, s, byte(i), time.Time{}, fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, err := s.Collect(ctx, func(inv *Inventory) (*Collection, error) {
		c, err := inv.Plan(Known{}, Limits{Size: 1}, time.Now())
		cancel()
		return c, err
	}, nil)
	if !errors.Is(err, context.Canceled) || len(c.Blobs) > 0 {
		t.Errorf("got %v, %d blobs", err, len(c.Blobs))
	}
	check, err := s.CheckAll(context.Background(), CheckOptions{})
	if err != nil || len(check.Bad) > 0 {
		t.Errorf("afterwards %v, %v", check, err)
	}
}

func TestStatesGoByAgeUnlessTheyAreDone(t *testing.T) {
	s := openTest(t)
	state := func(n byte, done bool) Key {
		st, err := s.OpenState(context.Background(), Key{n}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if err := st.Commit(nil, func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("state"), 0o666) }); err != nil {
			t.Fatal(err)
		}
		if err := st.Describe(StateAbout{Kind: "k", Done: done}); err != nil {
			t.Fatal(err)
		}
		return Key{n}
	}
	left := func() (keys []byte) {
		states, err := s.states()
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range states {
			keys = append(keys, st.Key[0])
		}
		return keys
	}
	unfinished, done, inUse := state(1, false), state(2, true), state(3, true)
	st, err := reopen(t, s).OpenState(context.Background(), inUse, nil)
	if err != nil {
		t.Fatal(err)
	}
	collect(t, s, Known{}, Limits{Size: 1}, time.Now())
	if got := left(); !slices.Equal(got, []byte{unfinished[0], inUse[0]}) {
		t.Errorf("for room: left %v, gone should be %v", got, done[0])
	}
	collect(t, s, Known{}, Limits{Before: time.Now().Add(time.Hour)}, time.Now())
	if got := left(); !slices.Equal(got, []byte{inUse[0]}) {
		t.Errorf("for age: left %v", got)
	}
	st.Close()
}

// FuzzLease reads a lease of any bytes: what it names in whole lines counts.
func FuzzLease(f *testing.F) {
	line := leasedRecord + " " + Key{1}.String() + "\n" + leasedBlob + " " + Digest{2}.String() + "\n"
	f.Add([]byte(line))
	f.Add([]byte(line[:len(line)-1]))
	f.Add([]byte("blob zz\n\x00\nrecord\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "lease-1"), b, 0o666); err != nil {
			t.Fatal(err)
		}
		l := &leases{dir: dir, read: map[string]int64{}, records: map[Key]bool{}, blobs: map[Digest]bool{}}
		if err := l.look(); err != nil {
			t.Fatal(err)
		}
		for d := range l.blobs {
			if !strings.Contains(strings.ToLower(string(b)), d.String()) {
				t.Errorf("it names %s", d)
			}
		}
		if err := l.look(); err != nil { // nothing was added
			t.Fatal(err)
		}
	})
}

func TestACollectionLeavesWhatADamagedHistoryMayTellOf(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := openTest(t)
	commitBlobs(t, s, 1, now.Add(-2*time.Hour), "before it")
	commitBlobs(t, s, 2, now.Add(-time.Hour), "after it")
	loose, _ := s.PutBytes([]byte("its input"))
	known := Known{Unsure: now.Add(-90 * time.Minute)}
	if got := collect(t, s, known, Limits{Size: 1, Before: now}, now); got != "2" {
		t.Errorf("went %q, want 2", got)
	}
	if !s.hasBlob(loose, -1) {
		t.Error("what its run may have used has gone")
	}
}

func TestACollectionLeavesFilesOfWhichTheListIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(manifest string) error{
		"damaged": func(manifest string) error {
			return errors.Join(os.Chmod(manifest, 0o666), os.WriteFile(manifest, []byte("pipe tree 1\n"), 0o666))
		},
		"missing": os.Remove,
	} {
		s := openTest(t)
		r := exampleRecord(s, t)
		if _, err := s.Commit(r, false); err != nil {
			t.Fatal(err)
		}
		tree, err := s.ReadTree(r.Outputs["out"].Digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := damage(s.BlobPath(r.Outputs["out"].Digest)); err != nil {
			t.Fatal(err)
		}
		c, err := s.Collect(context.Background(), func(inv *Inventory) (*Collection, error) { return inv.Plan(Known{}, Limits{}, time.Now()) }, nil)
		if err != nil || c.Unnamed == 0 {
			t.Errorf("%s: %d bytes unnamed, %v", name, c.Unnamed, err)
		}
		for _, e := range tree {
			if e.Mode != 'd' && !s.hasBlob(e.Digest, e.Size) {
				t.Errorf("%s: %s has gone", name, e.Path)
			}
		}
	}
}

func TestALineThatALeaseLacksIsWrittenWhenNextNeeded(t *testing.T) {
	s := openTest(t)
	release, err := s.Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	undo := faultfs.Set(func(op *faultfs.Op, act func() error) error {
		if op.Kind == faultfs.WriteOp && strings.Contains(op.Path, leasesName) {
			op.Data = op.Data[:9]
		}
		return act()
	})
	s.using(leasedRecord, Key{1})
	undo()
	s.using(leasedRecord, Key{1})
	s.using(leasedRecord, Key{2})
	l := s.openLeases()
	if err := l.look(); err != nil || !l.records[Key{1}] || !l.records[Key{2}] {
		t.Errorf("the lease names %v, %v", l.records, err)
	}
}
