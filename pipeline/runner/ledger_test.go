package runner

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pipe/internal/manifest"
)

func TestShelfFollowsTheLedger(t *testing.T) {
	digest := func(level string) string { return manifest.Sum([]byte(level)).String() }
	var entries []ledgerEntry
	for _, line := range strings.Fields("published:a published:b kept:c published:c rolled-back:a kept:d restored:a published:e published:a rolled-back:e") {
		decision, level, _ := strings.Cut(line, ":")
		entries = append(entries, ledgerEntry{Digest: digest(level), Decision: strings.ReplaceAll(decision, "-", " ")})
	}
	for n, want := range map[int]string{1: "a out", 3: "ab out", 4: "abc out", 5: "a outbc", 7: "a outbc", 8: "ae out", 9: "ea out", 10: "e outa"} {
		s := newShelf(entries[:n])
		got := ""
		for _, d := range s.order {
			got += string(nameOf(d))
		}
		got += " out"
		for _, level := range "abcde" {
			if _, ok := s.out[digest(string(level))]; ok {
				got += string(level)
			}
		}
		if got != want {
			t.Errorf("after %d lines: got %q, want %q", n, got, want)
		}
	}
}

func nameOf(digest string) rune {
	for _, level := range "abcde" {
		if manifest.Sum([]byte(string(level))).String() == digest {
			return level
		}
	}
	return '?'
}

func FuzzLedger(f *testing.F) {
	d := manifest.Sum(nil).String()
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","digest":"`+d+`","key":"k","run":"r","decision":"published","previous":"`+d+`"}`+"\n"), d)
	f.Add([]byte(`{"digest":"`+d+`","suite":"s","score":0.5,"decision":"kept"}`+"\n"+`{"digest":"`+d+`","decision":"rolled back"}`+"\n{"), "")
	f.Fuzz(func(t *testing.T, b []byte, linked string) {
		s := newShelf(parseLedger(b))
		if e, lacks := s.repair(linked, ""); lacks {
			s.add(e)
			if s.newest() != linked {
				t.Fatalf("repaired, the newest is %q and not %q", s.newest(), linked)
			}
		}
		if _, out := s.out[s.newest()]; out && s.newest() != "" {
			t.Fatal("what is published was rolled back")
		}
	})
}

func TestFlippedLedgerNeverSaysSomethingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	score := 0.5
	if err := appendLedger(path, ledgerEntry{Digest: manifest.Sum(nil).String(), Score: &score, Decision: wasPublished, terms: terms{Base: "b"}}); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := parseLedger(line)
	if len(want) != 1 {
		t.Fatalf("got %d entries, want 1", len(want))
	}
	for at := range line {
		for bit := range 8 {
			flipped := bytes.Clone(line)
			flipped[at] ^= 1 << bit
			if got := parseLedger(flipped); len(got) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("bit %d of byte %d: got %+v, want %+v or nothing", bit, at, got, want)
			}
		}
	}
}
