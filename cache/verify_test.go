package cache

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pipe/internal/manifest"
)

// TestAllThatIsDamagedIsListed damages 50 of 1,000 objects in seven ways, with size and
// times as they were, and has them listed: those and no others.
func TestAllThatIsDamagedIsListed(t *testing.T) {
	s := openTest(t)
	var blobs []Digest
	for i := range 1000 {
		text := bytes.Repeat(fmt.Appendf(nil, "object %d ", i), 1+i%50)
		d := manifest.Sum(text)
		r := &Record{Key: Key{byte(i), byte(i >> 8)}, Kind: "k", Version: "1", Outputs: map[string]Object{"o0": {File, d, int64(len(text))}}}
		file, err := EncodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		write(t, s.BlobPath(d), string(text)) // as Put and Commit do, without waiting for the disk
		write(t, s.actionPath(r.Key), string(file))
		blobs = append(blobs, d)
	}
	want := map[string]bool{}
	for i := range 50 {
		n := i * 20
		d := blobs[n]
		path := s.BlobPath(d)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := os.Stat(path)
		bad := bytes.Clone(good)
		name := d.String()
		switch i % 7 {
		case 0: // a bit
			bad[len(bad)/2] ^= 1
		case 1: // cut short
			bad = bad[:len(bad)-1]
		case 2: // empty
			bad = nil
		case 3: // longer
			bad = append(bad, 0)
		case 4: // zeros
			bad = make([]byte, len(bad))
		case 5: // gone
			bad = nil
			os.Remove(path)
		case 6: // the record, not the blob
			r := Key{byte(n), byte(n >> 8)}
			path, name = s.actionPath(r), r.String()
			bad, _ = os.ReadFile(path)
			bad[len(bad)/2] ^= 1
		}
		want[name] = true
		if i%7 == 5 {
			continue
		}
		os.Chmod(path, 0o644)
		if err := os.WriteFile(path, bad, 0o444); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(path, info.ModTime(), info.ModTime())
	}
	check, err := s.CheckAll(context.Background(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range check.Bad {
		if !want[b.Name] {
			t.Errorf("%s %s is listed: %s", b.What, b.Name, b.Why)
		}
		delete(want, b.Name)
		if b.What == "blob" && (len(b.Named) != 1 || b.Named[0].As != "output o0") {
			t.Errorf("%s belongs to %v", b.Name, b.Named)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d are not listed: %v", len(want), want)
	}
	if check.Records != 1000 {
		t.Errorf("looked at %d records", check.Records)
	}
	// What is damaged is found when it is used, though its file looks as it did.
	if err := s.VerifyBlob(blobs[0]); err == nil {
		t.Error("a damaged blob is believed")
	}
	part, err := s.CheckAll(context.Background(), CheckOptions{Sample: func(all int64) int64 { return all / 10 }})
	if err != nil || part.Bytes < part.All/10 || part.Bytes > part.All/5 {
		t.Errorf("a tenth is %d of %d bytes, %v", part.Bytes, part.All, err)
	}
}

func TestStatesAndTreesAreChecked(t *testing.T) {
	s := openTest(t)
	r := exampleRecord(s, t)
	if _, err := s.Commit(r, false); err != nil {
		t.Fatal(err)
	}
	st, err := s.OpenState(context.Background(), Key{7}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := st.Commit(nil, func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("state"), 0o666) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Describe(StateAbout{Kind: "k", Key: r.Key}); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(st.commit(2), stateFiles, "f"), []byte("stale"), 0o666)
	check, err := s.CheckAll(context.Background(), CheckOptions{})
	if err != nil || check.Busy != 1 || len(check.Bad) > 0 {
		t.Fatalf("in use: got %+v, %v", check, err)
	}
	st.Close()
	entries, _ := s.ReadTree(r.Outputs["out"].Digest)
	os.Remove(s.BlobPath(entries[0].Digest))
	check, err = s.CheckAll(context.Background(), CheckOptions{})
	if err != nil || len(check.Bad) != 2 {
		t.Fatalf("got %+v, %v", check.Bad, err)
	}
	for i, what := range []string{"blob", "state"} {
		if b := check.Bad[i]; b.What != what || len(b.Named) != 1 || b.Named[0].Key != r.Key {
			t.Errorf("got %+v, want a %s of the record", b, what)
		}
		if err := s.Remove(check.Bad[i]); err != nil {
			t.Error(err)
		}
	}
	if dir, damaged, err := st.Newest(); damaged != 0 || filepath.Dir(dir) != st.commit(1) || err != nil {
		t.Errorf("the commit before: got %s, %d damaged, %v", dir, damaged, err)
	}
}
