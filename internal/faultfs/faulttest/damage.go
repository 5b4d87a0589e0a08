//go:build unix

package faulttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline/runner"
)

// tryDamage damages files of a workspace in which much has happened, and runs the
// newest edition again, or goes on with one that was interrupted.
func (l *Lab) tryDamage(c Case, toy Toy) error {
	rng := rand.New(rand.NewPCG(c.Seed, 3))
	name := []string{"done", "stopped"}[rng.IntN(2)]
	s, truths, err := l.set(name, toy)
	if err != nil {
		return err
	}
	if name == "done" && rng.IntN(2) == 0 { // so that the store trusts what it has just read
		if o := toy.Run(); o.Exit != 0 {
			return errors.New(o.said())
		}
		time.Sleep(clockTick)
	}
	before, err := histories(toy)
	if err != nil {
		return err
	}
	expected := maps.Collect(maps.All(s.reruns))
	var what []string
	files := 1 + max(rng.IntN(8)-4, 0) // mostly one, up to four
	for range files {
		class, path, err := pick(rng, toy, files > 1)
		if err != nil {
			return err
		}
		other := class[rng.IntN(len(class))]
		how, err := damage(rng, path, other)
		if err != nil {
			return err
		}
		what = append(what, strings.TrimPrefix(path, toy.Dir+"/")+": "+how)
		maps.Copy(expected, truths.newest().owners(path))
		maps.Copy(expected, truths.newest().owners(other)) // in whose place it may be
	}
	err = truths.stored(toy)
	if err == nil {
		err = sameHistories(toy, before)
	}
	if err == nil {
		err = heals(toy, truths, expected)
	}
	if err != nil {
		err = fmt.Errorf("%s, %q: %w", name, what, err)
	}
	return err
}

// clockTick is longer than the tick of the clock by which the kernel stamps files.
const clockTick = 12 * time.Millisecond

// heals returns an error unless a run brings everything back by running no stage but
// those expected.
func heals(toy Toy, truths Truths, expected map[string]bool) error {
	o := toy.Run()
	if o.Exit != 0 {
		return fmt.Errorf("the next run ended with %d: %s", o.Exit, o.said())
	}
	for stage := range o.Ran {
		if !expected[stage] {
			return fmt.Errorf("stage %s ran again without need", stage)
		}
	}
	return truths.Published(toy)
}

// pick chooses a file, of each class equally often, and returns its class with it. One
// of several is none of a published version, which can be restored from the store only.
func pick(rng *rand.Rand, toy Toy, several bool) (class []string, path string, err error) {
	classes := map[string][]string{}
	add := func(class, path string) { classes[class] = append(classes[class], path) }
	err = filepath.WalkDir(toy.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(toy.Dir, path)
		switch first, _, _ := strings.Cut(strings.TrimPrefix(rel, ".pipe/"), "/"); {
		case first == "blobs", first == "actions", first == "runs", first == "state":
			add(first, path)
		case strings.HasSuffix(first, ".idx"):
			add("index", path)
		case rel == "out/grown.txt":
			add("file", path)
		case filepath.Base(rel) == "ledger.jsonl":
			add("ledger", path)
		case strings.HasPrefix(rel, "out/best.versions/") && filepath.Base(rel) != ".lock" && !several:
			add("version", path)
		}
		return err
	})
	names := slices.Sorted(maps.Keys(classes))
	class = classes[names[rng.IntN(len(names))]]
	return class, class[rng.IntN(len(class))], err
}

// damage changes a file in one of the ways in which files are damaged; one of them is
// that it changes places with another of its class.
func damage(rng *rand.Rand, path, other string) (how string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	was := slices.Clone(b)
	switch kind := rng.IntN(8); {
	case kind == 0:
		return "gone", os.Remove(path)
	case kind == 1:
		how, b = "emptied", nil
	case kind == 2 && len(b) > 0:
		how, b = "cut short", b[:rng.IntN(len(b))]
	case kind == 3:
		how, b = "longer", append(b, byte(rng.Uint32()))
	case kind == 4 && len(b) > 0:
		from := rng.IntN(len(b))
		to := from + 1 + rng.IntN(len(b)-from)
		how = fmt.Sprintf("bytes %d to %d zeroed", from, to)
		clear(b[from:to])
	case kind == 5:
		how = "that of " + filepath.Base(other)
		if b, err = os.ReadFile(other); err == nil {
			err = overwrite(other, was, info.Mode())
		}
	case len(b) > 0:
		at, bit := rng.IntN(len(b)), rng.IntN(8)
		how = fmt.Sprintf("bit %d of byte %d flipped", bit, at)
		b[at] ^= 1 << bit
	default:
		how, b = "longer", []byte{0}
	}
	err = errors.Join(err, overwrite(path, b, info.Mode()))
	if rng.IntN(2) == 0 {
		how += ", as old as before"
		err = errors.Join(err, os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
	return how, err
}

func overwrite(path string, b []byte, mode fs.FileMode) error {
	return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, mode), os.Chmod(path, mode))
}

// owners are the stages that have to run if a file is damaged.
func (t *Truth) owners(path string) map[string]bool {
	stages := map[string]bool{}
	if filepath.Base(path) == "ledger.jsonl" { // the score of what is published may be lost
		stages["sweep (published)"] = true
	}
	digest, err := manifest.ParseDigest(filepath.Base(path))
	if err != nil {
		return stages
	}
	for key, digests := range t.blobs {
		if key == cache.Key(digest) || slices.Contains(digests, digest) {
			stages[t.stages[key]] = true
		}
	}
	return stages
}

// histories returns what the store tells of runs, by run.
func histories(toy Toy) (map[string]string, error) {
	store, err := cache.OpenToRead(toy.storeDir())
	if err != nil {
		return nil, err
	}
	runs := map[string]string{}
	err = runner.EachPast(store, func(p *runner.Past) bool {
		b, err := json.Marshal(p)
		runs[p.ID] = fmt.Sprint(string(b), err)
		return true
	})
	return runs, err
}

// sameHistories returns an error if a run is told otherwise than before. It may be
// forgotten.
func sameHistories(toy Toy, before map[string]string) error {
	now, err := histories(toy)
	if err != nil {
		return err
	}
	for id, told := range now {
		if told != before[id] {
			return fmt.Errorf("run %s is told otherwise", id)
		}
	}
	return nil
}
