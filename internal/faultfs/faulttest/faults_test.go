//go:build unix

package faulttest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pipe/internal/faultfs"
)

var (
	faults   = flag.String("faults", "", "try this one case, as a failure printed it")
	seed     = flag.Uint64("seed", 1, "choose the sample of cases by it")
	campaign = flag.String("campaign", "", "try all cases, and remember in this file how far it is")
	budget   = flag.Duration("budget", 38*time.Minute, "of a campaign")
	figures  = flag.String("figures", "", "write a campaign's figures into this document")
)

func TestMain(m *testing.M) {
	Child()
	Work()
	flag.Parse()
	os.Exit(m.Run())
}

func newLab(t *testing.T) *Lab {
	t.Helper()
	dir, err := Scratch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := NewLab(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// replay is how to try a case again.
const replay = "go test ./internal/faultfs/faulttest -run TestFaults -faults='%s'"

// sample is how many cases of each part belong to go test.
var sample = map[string]int{"errno": 30, "kill": 5, "instant": 1, "cut": 40, "damage": 15}

func TestFaults(t *testing.T) {
	l := newLab(t)
	if *faults != "" {
		c, err := ParseCase(*faults)
		if err != nil {
			t.Fatal(err)
		}
		if hit, err := l.Try(c); err != nil || !hit {
			t.Errorf("hit: %v; %v", hit, err)
		}
		return
	}
	sizes, err := l.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]int{}
	for _, c := range sizes.Cases(*seed) {
		if tried[c.Part] == sample[c.Part] {
			continue
		}
		tried[c.Part]++
		if _, err := l.Try(c); err != nil {
			t.Errorf("%v\n"+replay, err, c)
		}
	}
}

func TestCampaign(t *testing.T) {
	if *campaign == "" {
		t.Skip("it takes half an hour: make campaign")
	}
	path, err := filepath.Abs(*campaign)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCampaign(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(*budget, func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	if *figures != "" {
		if err := c.WriteFigures(*figures); err != nil {
			t.Error(err)
		}
	}
	for _, line := range c.Failed {
		t.Error(line)
	}
	for _, part := range Parts {
		t.Log(part, c.Tallies[part])
	}
}

func TestCasesAreNamedByTheirLines(t *testing.T) {
	sizes := Sizes{Kinds: map[string][]faultfs.Kind{"edit": {faultfs.WriteOp, faultfs.SyncOp}}, Changes: 2}
	for _, c := range sizes.Cases(1) {
		if again, err := ParseCase(c.String()); err != nil || again != c {
			t.Fatalf("%s: got %+v (%v), want %+v", c, again, err, c)
		}
	}
}
