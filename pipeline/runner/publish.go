package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/atomicfile"
	"pipe/internal/manifest"
	"pipe/pipeline"
)

// A published folder is a relative link TO → TO.versions/<digest>, so that a reader
// sees the old folder or the new one and never a mixture. The ledger beside the
// versions tells what was published when.
const (
	versionsSuffix = ".versions"
	ledgerName     = "ledger.jsonl"
	lockName       = ".lock"
	keepVersions   = 3
)

// ledgerEntry is a line of a ledger.
type ledgerEntry struct {
	Time     time.Time `json:"time"`
	Digest   string    `json:"digest"`
	Key      string    `json:"key"`
	Run      string    `json:"run"`
	Decision string    `json:"decision"`
	Previous string    `json:"previous,omitempty"`
}

// checkPlace refuses a place that holds what pipe did not put there: a folder, a
// link to elsewhere and, for a folder to be published, a file. A file at the place
// of a file is what the pipeline says should be replaced.
func checkPlace(to string, folder bool) error {
	info, err := os.Lstat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a folder that pipe did not make; move it away", to)
	case info.Mode().IsRegular() && folder:
		return fmt.Errorf("%s is a file, and a folder is to be published there; move it away", to)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(to)
		if err == nil && filepath.Dir(target) != filepath.Base(to)+versionsSuffix {
			return fmt.Errorf("%s is a link to %s that pipe did not make; move it away", to, target)
		}
	}
	return nil
}

// publish puts an output at its place, unless it is there already.
func (r *Runner) publish(s *pipeline.Step, p pipeline.Publication, record *cache.Record) (Published, error) {
	done := Published{Stage: s.Name, Port: p.Port, To: p.To}
	o, made := record.Outputs[p.Port]
	var err error
	switch {
	case record.Withheld != "":
		done.Decision = "withheld"
	case !made:
		done.Decision = "withheld"
	default:
		done.Digest = o.Digest.String()
		if err = checkPlace(p.To, o.Kind == cache.Tree); err == nil {
			if o.Kind == cache.Tree {
				done.Decision, err = r.publishTree(o, p.To, record)
			} else {
				done.Decision, err = r.publishFile(o, p.To)
			}
		}
	}
	e := Event{Type: "publish", Stage: s.Name, Port: p.Port, To: p.To, Digest: done.Digest, Decision: done.Decision, Why: record.Withheld}
	if err != nil {
		e.Decision, e.Error = "failed", err.Error()
	}
	r.emit(e)
	return done, err
}

// publishFile puts an ordinary file at a place.
func (r *Runner) publishFile(o cache.Object, to string) (string, error) {
	decision := "published"
	if info, err := os.Lstat(to); err == nil && info.Mode().IsRegular() {
		if pin, err := r.Store.PinPath(context.Background(), to, nil); err == nil {
			if pin.Object.Digest == o.Digest {
				return "unchanged", nil
			}
		}
		if r.publishedBefore(to, o.Digest.String()) {
			decision = "restored"
		}
	}
	if err := r.Store.Verify(o); err != nil {
		return "", err
	}
	return decision, r.Store.Place(o, to)
}

// publishedBefore says whether the last run that published at a place put this
// digest there, so that what is there now was changed by somebody else.
func (r *Runner) publishedBefore(to, digest string) bool {
	before := false
	EachPast(r.Store, func(p *Past) bool {
		for _, e := range slices.Backward(p.Events) {
			if e.Type == "publish" && e.To == to && p.Start.Dir == r.Dir && p.ID != r.id {
				before = e.Digest == digest
				return false
			}
		}
		return true
	})
	return before
}

// publishTree puts a folder at a place by a link to a version of its own.
func (r *Runner) publishTree(o cache.Object, to string, record *cache.Record) (string, error) {
	versions := to + versionsSuffix
	if err := os.MkdirAll(versions, 0o777); err != nil {
		return "", err
	}
	// Another run may publish here, too: versions, link and ledger move together.
	unlock, err := cache.Lock(context.Background(), filepath.Join(versions, lockName), false, nil)
	if err != nil {
		return "", err
	}
	defer unlock()
	version := filepath.Join(versions, o.Digest.String())
	link := filepath.Join(filepath.Base(versions), o.Digest.String())
	current, err := os.Readlink(to)
	linked := err == nil && current == link
	whole := r.isWhole(o, version)
	if linked && whole {
		return "unchanged", nil
	}
	if !whole {
		if err := r.placeVersion(o, version); err != nil {
			return "", err
		}
	}
	decision := "published"
	if linked {
		decision = "restored"
	} else if err := swapLink(link, to); err != nil {
		return "", err
	}
	e := ledgerEntry{Time: r.Now().UTC(), Digest: o.Digest.String(), Key: record.Key.String(), Run: r.id, Decision: decision}
	if current != "" && !linked {
		e.Previous = filepath.Base(current)
	}
	if err := appendLedger(filepath.Join(versions, ledgerName), e); err != nil {
		return "", err
	}
	dropOldVersions(versions, o.Digest.String())
	return decision, nil
}

// isWhole says whether a published folder is what it should be.
func (r *Runner) isWhole(o cache.Object, version string) bool {
	if _, err := os.Lstat(version); err != nil {
		return false
	}
	pin, err := r.Store.PinPath(context.Background(), version, nil)
	return err == nil && pin.Object == o
}

// placeVersion copies a folder to its place among the versions; one that is there
// and was changed is exchanged.
func (r *Runner) placeVersion(o cache.Object, version string) error {
	if err := r.Store.Verify(o); err != nil {
		return err
	}
	if _, err := os.Lstat(version); errors.Is(err, fs.ErrNotExist) {
		return r.Store.Place(o, version)
	}
	fresh := version + ".fresh"
	if err := os.RemoveAll(fresh); err != nil { // of a run that was killed
		return err
	}
	if err := r.Store.Place(o, fresh); err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := exchange(fresh, version); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(version))
}

// swapLink makes to a link to target, in one step.
func swapLink(target, to string) error {
	temp := fmt.Sprintf("%s.pipe-%d", to, os.Getpid())
	os.Remove(temp)
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, to); err != nil {
		os.Remove(temp)
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(to))
}

func appendLedger(path string, e ledgerEntry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return atomicfile.CloseSynced(f, err)
}

// dropOldVersions keeps the newest versions, by the ledger, and the current one.
func dropOldVersions(versions, current string) {
	keep := map[string]bool{current: true}
	b, _ := os.ReadFile(filepath.Join(versions, ledgerName))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, line := range slices.Backward(lines) {
		var e ledgerEntry
		if json.Unmarshal([]byte(line), &e) == nil && len(keep) < keepVersions {
			keep[e.Digest] = true
		}
	}
	entries, _ := os.ReadDir(versions)
	for _, e := range entries {
		if _, err := manifest.ParseDigest(e.Name()); err == nil && !keep[e.Name()] {
			os.RemoveAll(filepath.Join(versions, e.Name()))
		}
	}
}
