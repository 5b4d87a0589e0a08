package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/internal/manifest"
)

// StageUse is a stage of a run that made or used a result.
type StageUse struct {
	Stage    string   `json:"stage"`
	Pipeline string   `json:"pipeline"`
	Profile  string   `json:"profile"`
	File     string   `json:"file"`
	Dir      string   `json:"dir"`
	Set      []string `json:"set,omitempty"`
	Run      string   `json:"run"`
}

// Uses are the runs of a store, looked at for what they used.
type Uses struct {
	Known  cache.Known
	Stages map[cache.Key][]StageUse // newest run first, each stage of a pipeline and profile once
	Places []PublishedPlace         // where they published, and what is there still
	Old    []History                // histories that go with results that were not used for long
	// Damaged are the histories of which not all can be read: what their runs used and
	// published is not known.
	Damaged []DamagedHistory

	store *cache.Store
	pins  map[string]bool
}

// PublishedPlace is a path at which a run published, with what pipe put there and
// has not taken away.
type PublishedPlace struct {
	To       string // absolute
	Folder   bool
	Versions []cache.Digest // of a folder: those that lie beside it; of a file: what was put there
}

// History is the file of a run's history.
type History struct {
	Run  string
	Path string
	Size int64
}

// DamagedHistory is a history of which not all can be read.
type DamagedHistory struct {
	History
	Changed time.Time // when it was last written: what was made later, its run did not use
	Why     string
}

// UsesOf reads the histories of a store. What was last used before a time, unless it
// is zero, is old.
func UsesOf(store *cache.Store, before time.Time) (*Uses, error) {
	u := &Uses{store: store, Stages: map[cache.Key][]StageUse{}, pins: pinnedRuns(store)}
	u.Known = cache.Known{Used: map[cache.Key]time.Time{}, Fixed: map[cache.Key]bool{}, Current: map[cache.Key]bool{}}
	newest := map[string]bool{} // by pipeline, profile and folder
	places := map[string]bool{} // by path
	objects := map[cache.Digest]*cache.KnownObject{}
	err := eachHistory(store, func(id string, p *Past, damage error) bool {
		if damage != nil {
			u.addDamaged(id, damage)
		}
		if p == nil {
			return true
		}
		name := strings.Join([]string{p.Start.File, p.Start.Profile, p.Start.Dir}, "\x00")
		current := !newest[name]
		newest[name] = true
		path, size, used := historyFile(store, p.ID)
		if used.Before(p.Start.Time) {
			used = p.Start.Time
		}
		pinned := u.pins[p.ID]
		stays := u.addPlaces(p, places)
		old := used.Before(before) && !current && !pinned && !stays
		if old {
			u.Old = append(u.Old, History{p.ID, path, size})
		}
		for _, e := range p.Events {
			u.addResult(p, e, used, current, pinned)
			if old {
				continue // nobody will ask why
			}
			for _, o := range explaining(e) {
				if k := objects[o.Digest]; k == nil {
					objects[o.Digest] = &cache.KnownObject{Object: o, Used: used, Fixed: pinned}
				} else {
					k.Fixed = k.Fixed || pinned
				}
			}
		}
		return true
	})
	for _, o := range objects {
		u.Known.Objects = append(u.Known.Objects, *o)
	}
	for _, p := range u.Places {
		kind := cache.File
		if p.Folder {
			kind = cache.Tree
		}
		for _, d := range p.Versions {
			u.Known.Objects = append(u.Known.Objects, cache.KnownObject{Object: cache.Object{Kind: kind, Digest: d}, Fixed: true})
		}
	}
	return u, err
}

// addDamaged notes a history that cannot be read: whatever was made before it was
// written may have been used by its run, and published.
func (u *Uses) addDamaged(id string, damage error) {
	path, size, changed := historyFile(u.store, id)
	why := damage.Error()
	if at := (*fs.PathError)(nil); errors.As(damage, &at) {
		why = at.Err.Error()
	}
	u.Damaged = append(u.Damaged, DamagedHistory{History{id, path, size}, changed, why})
	if until := changed.Add(coarseTime); until.After(u.Known.Unsure) {
		u.Known.Unsure = until
	}
}

// coarseTime is how far a file's time may lie behind the clock: the coarsest file systems
// keep every other second.
const coarseTime = 2 * time.Second

// historyFile finds a run's history, and when it was last used: a run in which nothing
// happened leaves no history and touches that of the run before.
func historyFile(store *cache.Store, id string) (path string, size int64, used time.Time) {
	for _, suffix := range []string{endedHistory, openHistory} {
		path = filepath.Join(store.RunsDir(), id+suffix)
		if info, err := os.Stat(path); err == nil {
			return path, info.Size(), info.ModTime()
		}
	}
	return path, 0, used
}

// addResult notes the result that a stage of a run ended with, if e tells of one.
func (u *Uses) addResult(p *Past, e Event, used time.Time, current, pinned bool) {
	var k cache.Key
	if e.Type != "stage_end" || e.Outcome != Ran && e.Outcome != Cached || k.UnmarshalText([]byte(e.Key)) != nil {
		return
	}
	if used.After(u.Known.Used[k]) {
		u.Known.Used[k] = used
	}
	u.Known.Current[k] = u.Known.Current[k] || current
	if pinned {
		u.Known.Fixed[k] = true
	}
	s := p.Start
	if !slices.ContainsFunc(u.Stages[k], func(x StageUse) bool {
		return x.Stage == e.Stage && x.File == s.File && x.Profile == s.Profile && x.Dir == s.Dir
	}) {
		u.Stages[k] = append(u.Stages[k], StageUse{e.Stage, s.Pipeline, s.Profile, s.File, s.Dir, s.Set, p.ID})
	}
}

// explaining lists what a run kept to be explained by: pre-images, and inputs of the
// workspace.
func explaining(e Event) []cache.Object {
	if e.Type != "stage_start" && e.Type != "stage_end" {
		return nil
	}
	var objects []cache.Object
	if e.Preimage != nil {
		objects = append(objects, cache.Object{Kind: cache.File, Digest: *e.Preimage})
	}
	for _, in := range e.Inputs {
		if in != nil && in.Source != "" && in.Content != nil {
			objects = append(objects, *in.Content)
		}
	}
	return objects
}

// addPlaces notes where a run published, unless a newer one did, too, and says whether
// it is the newest that did and something is there.
func (u *Uses) addPlaces(p *Past, known map[string]bool) bool {
	stays := false
	for _, e := range p.Events {
		if e.Type != "publish" {
			continue
		}
		to := e.To
		if !filepath.IsAbs(to) {
			to = filepath.Join(p.Start.Dir, to)
		}
		if known[to] {
			continue
		}
		at := PublishedPlace{To: to}
		if _, err := os.Lstat(LedgerOf(to)); err == nil {
			at.Folder = true
			u.addVersions(&at)
		} else if d, err := manifest.ParseDigest(e.Digest); err == nil && (changedPlace(e.Decision) || e.Decision == wasUnchanged) {
			if info, err := os.Lstat(to); err == nil && info.Mode().IsRegular() {
				at.Versions = append(at.Versions, d)
				u.fixResult(p, e.Stage)
			}
		} else {
			continue // an older run may have published here
		}
		known[to] = true
		if len(at.Versions) > 0 {
			u.Places = append(u.Places, at)
			stays = true
		}
	}
	return stays
}

// fixResult notes that a stage's result in a run never goes.
func (u *Uses) fixResult(p *Past, stage string) {
	var k cache.Key
	if r, ok := p.Result(stage); ok && k.UnmarshalText([]byte(r.Key)) == nil {
		u.Known.Fixed[k] = true
	}
}

// addVersions finds the versions of a published folder; their results never go.
func (u *Uses) addVersions(at *PublishedPlace) {
	where := place{store: u.store, to: at.To}
	entries, _ := os.ReadDir(where.versions())
	for _, e := range entries {
		if d, err := manifest.ParseDigest(e.Name()); err == nil && e.IsDir() {
			at.Versions = append(at.Versions, d)
		}
	}
	b, _ := os.ReadFile(where.ledger())
	for _, e := range parseLedger(b) {
		var k cache.Key
		d, err := manifest.ParseDigest(e.Digest)
		if err == nil && slices.Contains(at.Versions, d) && k.UnmarshalText([]byte(e.Key)) == nil {
			u.Known.Fixed[k] = true
		}
	}
}

// usedAgain notes that the results of a run were used: the run that did so leaves no
// history of its own.
func (r *Runner) usedAgain(p *Past) {
	path, _, _ := historyFile(r.Store, p.ID)
	now := r.Now()
	_ = os.Chtimes(path, now, now) // a collection may think that they are older
}

// A pinned run is an empty file with its id in this folder of the store.
const pinsName = "pins"

// Pin has collections leave the results of a run and its history alone; with on false
// it lets them go again.
func Pin(store *cache.Store, run string, on bool) error {
	dir := filepath.Join(store.Dir(), pinsName)
	if !on {
		err := os.Remove(filepath.Join(dir, run))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("run %s is not pinned", run)
		}
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, run), nil, 0o666)
}

// Pinned lists the runs that are pinned, oldest first.
func Pinned(store *cache.Store) []string {
	var runs []string
	entries, _ := os.ReadDir(filepath.Join(store.Dir(), pinsName))
	for _, e := range entries {
		runs = append(runs, e.Name())
	}
	return runs
}

func pinnedRuns(store *cache.Store) map[string]bool {
	pins := map[string]bool{}
	for _, run := range Pinned(store) {
		pins[run] = true
	}
	return pins
}
