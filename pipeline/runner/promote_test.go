package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline"
	"pipe/stages"
)

// A model of these tests is a folder with a file of so many parts as its level and
// one that counts them; it scores what its level says.
type modelParams struct {
	Level int    `yaml:"level" required:"true" help:"what it scores"`
	Suite string `yaml:"suite" default:"s" help:"the suite"`
	Base  string `yaml:"base" default:"b" help:"the base"`
	Break string `yaml:"break" help:"what is wrong with the scores"`
}

const parts = 64

func writeModel(dir string, level int) error {
	err := os.Mkdir(dir, 0o777)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "weights"), []byte(strings.Repeat(fmt.Sprintf("%08d", level), parts)), 0o666),
		os.WriteFile(filepath.Join(dir, "config"), fmt.Append(nil, level), 0o666))
}

func modelKinds() *stages.Registry {
	type none struct{}
	type made struct {
		Checkpoints string `port:"checkpoints" type:"folder" help:"models"`
	}
	type judged struct {
		Checkpoints stages.Input `port:"checkpoints" type:"folder" help:"models"`
	}
	type report struct {
		Report string `port:"report" type:"folder" help:"scores"`
	}
	type chosen struct {
		Checkpoints stages.Input `port:"checkpoints" type:"folder" help:"models"`
		Sweep       stages.Input `port:"sweep" type:"folder" help:"scores"`
	}
	type best struct {
		Best string `port:"best" type:"folder" help:"the best"`
	}
	return stages.NewRegistry(
		stages.Define("train", "1", "Makes a model.", func(_ context.Context, _ *stages.Env, p modelParams, _ none, o made) error {
			return errors.Join(os.Mkdir(o.Checkpoints, 0o777), writeModel(filepath.Join(o.Checkpoints, "one"), p.Level))
		}),
		stages.Define("sweep", "1", "Scores models.", func(_ context.Context, env *stages.Env, p modelParams, i judged, o report) error {
			dir := i.Checkpoints.Path
			if _, err := os.Stat(filepath.Join(dir, "one")); err == nil {
				dir = filepath.Join(dir, "one")
			}
			level, err1 := os.ReadFile(filepath.Join(dir, "config"))
			digest, err2 := manifest.Folder(dir)
			text := fmt.Sprintf(`{"suite":%q,"base":%q,"template":"t","scores":{"%s":%s}}`, p.Suite, p.Base, digest, level)
			switch p.Break {
			case "absent":
				return os.Mkdir(o.Report, 0o777)
			case "json":
				text = text[1:]
			case "empty":
				text = "{}"
			case "other":
				text = `{"scores":{"x":1}}`
			}
			env.Log.Info("asked", "level", string(level))
			return errors.Join(err1, err2, os.Mkdir(o.Report, 0o777), os.WriteFile(filepath.Join(o.Report, "score.json"), []byte(text), 0o666))
		}),
		stages.Define("choose", "1", "Chooses.", func(_ context.Context, _ *stages.Env, _ none, i chosen, o best) error {
			return os.CopyFS(o.Best, os.DirFS(filepath.Join(i.Checkpoints.Path, "one")))
		}),
	)
}

// models publishes models at a place.
type models struct {
	*bench
	to string
}

func newModels(t *testing.T) *models {
	b := newBench(t)
	return &models{bench: b, to: filepath.Join(b.dir, "out", "best")}
}

// publish runs a pipeline that makes a model of a level. with are parameters of its
// sweep.
func (m *models) publish(level int, with string, change func(r *Runner)) *recorder {
	m.t.Helper()
	f, err := pipeline.Parse(filepath.Join(m.dir, "p.yaml"), fmt.Appendf(nil, `pipeline: p
stages:
  train: { with: { level: %d } }
  sweep: { in: { checkpoints: "${train.checkpoints}" }, with: { level: 0%s } }
  choose:
    in: { sweep: "${sweep.report}", checkpoints: "${train.checkpoints}" }
    publish: { best: { to: out/best, unless_worse: sweep } }
`, level, with))
	if err != nil {
		m.t.Fatal(err)
	}
	plan, err := f.Resolve(modelKinds(), pipeline.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	rec := &recorder{}
	r := &Runner{Plan: plan, Store: m.store, Sink: rec, Machine: pipeline.Resources{CPU: 2}, Dir: m.dir, Now: time.Now}
	if change != nil {
		change(r)
	}
	if _, err := r.Run(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	return rec
}

// shown is the level of what is published.
func (m *models) shown() string {
	b, _ := os.ReadFile(filepath.Join(m.to, "config"))
	return string(b)
}

func (m *models) place() place { return place{store: m.store, to: m.to} }

// ledger is the decisions of the ledger, with levels for digests.
func (m *models) ledger() string {
	b, _ := os.ReadFile(m.place().ledger())
	var said []string
	for _, e := range parseLedger(b) {
		score := "?"
		if e.Score != nil {
			score = fmt.Sprint(*e.Score)
		}
		said = append(said, e.Decision+" "+score)
	}
	return strings.Join(said, ", ")
}

func decision(rec *recorder) (said string) {
	for _, e := range rec.events {
		if e.Type == "publish" {
			said = strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Decision, e.Why, e.Error))
		}
	}
	return said
}

func TestScoresThatCannotBeReadPublishNothing(t *testing.T) {
	m := newModels(t)
	for how, want := range map[string]string{
		"absent": "sweep.report has no score.json, by which unless_worse: sweep compares",
		"json":   "sweep.report/score.json: not readable: ",
		"empty":  `sweep.report/score.json: "scores" is missing`,
		"other":  "sweep.report/score.json has no score of [0-9a-f]{12}; it scores x",
	} {
		rec := m.publish(1, ", break: "+how, nil)
		if got := decision(rec); rec.summary.Exit != 1 || !strings.HasPrefix(got, "failed") || !matches(want, got) {
			t.Errorf("%s: got exit %d, %s", how, rec.summary.Exit, got)
		}
		if _, err := os.Lstat(m.to); err == nil {
			t.Errorf("%s: something was published", how)
		}
	}
}

func TestDamagedScoresAreMadeAgain(t *testing.T) {
	m := newModels(t)
	rec := m.publish(1, "", nil)
	entries, err := m.store.ReadTree(stageOutput(t, rec, "sweep", "report"))
	if err != nil {
		t.Fatal(err)
	}
	blob := m.store.BlobPath(entries[0].Digest)
	info, _ := os.Stat(blob)
	os.Chmod(blob, 0o644)
	os.WriteFile(blob, []byte(strings.Repeat("x", int(info.Size()))), 0o644)
	os.Chtimes(blob, info.ModTime(), info.ModTime())
	rec = m.publish(1, "", nil)
	if got := rec.outcomes(); rec.summary.Exit != 0 || got != "train=cached sweep=ran choose=cached" || decision(rec) != "unchanged" {
		t.Errorf("got exit %d, %s, %s", rec.summary.Exit, got, decision(rec))
	}
}

func stageOutput(t *testing.T, rec *recorder, stage, port string) (d cache.Digest) {
	t.Helper()
	for _, e := range rec.events {
		if e.Type == "stage_end" && e.Stage == stage {
			d = e.Outputs[port].Digest
		}
	}
	return d
}

// A published version that somebody changed is not what the ledger has a score of.
func TestChangedVersionIsRestoredOrScoredAsItIs(t *testing.T) {
	m := newModels(t)
	m.publish(5, "", nil)
	change := func() { os.WriteFile(filepath.Join(m.to, "config"), []byte("2"), 0o666) }
	change()
	if rec := m.publish(4, "", nil); !strings.HasPrefix(decision(rec), "kept score 4 is under the published 5") || m.shown() != "5" {
		t.Errorf("with the store: %s, %s is published", decision(rec), m.shown())
	}
	change()
	var err error
	if m.store, err = cache.Open(filepath.Join(t.TempDir(), "other")); err != nil {
		t.Fatal(err)
	}
	if rec := m.publish(4, "", nil); decision(rec) != "published score 4, published 2" || m.shown() != "4" {
		t.Errorf("without: %s, %s is published", decision(rec), m.shown())
	}
	if err := os.RemoveAll(m.place().version(m.place().linked())); err != nil {
		t.Fatal(err)
	}
	if m.store, err = cache.Open(filepath.Join(t.TempDir(), "third")); err != nil {
		t.Fatal(err)
	}
	if rec := m.publish(1, "", nil); decision(rec) != "published" || m.shown() != "1" {
		t.Errorf("gone: %s, %s is published", decision(rec), m.shown())
	}
}

func TestScoringAgainThatFailsPublishesNothing(t *testing.T) {
	m := newModels(t)
	m.publish(1, "", nil)
	rec := m.publish(2, ", suite: s2, break: other", nil) // the candidate's own scores are not there either
	if rec.summary.Exit != 1 {
		t.Errorf("got exit %d", rec.summary.Exit)
	}
	os.Remove(filepath.Join(m.to, "config")) // what is published can be neither restored nor asked
	var err error
	if m.store, err = cache.Open(filepath.Join(t.TempDir(), "other")); err != nil {
		t.Fatal(err)
	}
	rec = m.publish(2, ", suite: s2", nil)
	if got := decision(rec); rec.summary.Exit != 1 || !strings.Contains(got, "cannot be compared: its score is not known; ") || !strings.Contains(got, "--promote") {
		t.Errorf("got exit %d, %s", rec.summary.Exit, got)
	}
	if rec := m.publish(2, ", suite: s2", func(r *Runner) { r.Promote = true }); decision(rec) != "published asked for by --promote" {
		t.Errorf("got %s", decision(rec))
	}
}

// A process may die between any two steps of a publication or a roll-back. What the
// link says is the truth; the ledger follows in the next run.
func TestRunRepairsWhatAKilledOneLeft(t *testing.T) {
	store := newBench(t).store // of all cases: what is made is no matter here
	// Each case begins with 3 published over 2 over 1 and a state as if the process
	// had died; then a candidate of the level next comes.
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, m *models, versions map[int]string)
		next   int
		shown  string
		want   string // the ledger after the first three lines
	}{
		{"copy under way", func(t *testing.T, m *models, _ map[int]string) {
			os.MkdirAll(filepath.Join(m.place().versions(), ".pipe-place-1", "copy"), 0o777)
		}, 4, "4", "published 4"},
		{"version, no link", func(t *testing.T, m *models, _ map[int]string) {
			m.make(t, 4)
		}, 4, "4", "published 4"},
		{"version, no link, another candidate", func(t *testing.T, m *models, _ map[int]string) {
			m.make(t, 4)
		}, 5, "5", "published 5"},
		{"link made, not moved", func(t *testing.T, m *models, _ map[int]string) {
			os.Symlink("best.versions/"+m.make(t, 4), filepath.Join(m.place().versions(), linkPrefix+"1"))
		}, 4, "4", "published 4"},
		{"link, no ledger", func(t *testing.T, m *models, _ map[int]string) {
			m.relink(t, m.make(t, 4))
		}, 4, "4", "published 4"},
		{"link, no ledger, a worse candidate", func(t *testing.T, m *models, _ map[int]string) {
			m.relink(t, m.make(t, 4))
		}, 3, "4", "published ?, kept 3"},
		{"link, half a line", func(t *testing.T, m *models, _ map[int]string) {
			m.relink(t, m.make(t, 4))
			f, _ := os.OpenFile(m.place().ledger(), os.O_APPEND|os.O_WRONLY, 0)
			f.WriteString(`{"time":"2026-01-01T00:00:00Z","dig`)
			f.Close()
		}, 4, "4", "published 4"},
		{"ledger, nothing dropped", func(t *testing.T, m *models, v map[int]string) {
			writeModel(m.place().version(strings.Repeat("0", 64)), 9)
		}, 4, "4", "published 4"},
		{"rolled back, no ledger", func(t *testing.T, m *models, v map[int]string) {
			m.relink(t, v[2])
		}, 3, "2", "rolled back 2"},
		{"published again from further down, no ledger", func(t *testing.T, m *models, v map[int]string) {
			m.relink(t, v[2])
		}, 2, "2", "published 2"},
		{"an exchange under way", func(t *testing.T, m *models, v map[int]string) {
			os.Rename(m.place().version(v[3]), m.place().version(v[3])+freshSuffix+".old")
		}, 3, "3", "restored 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newModels(t)
			m.store = store
			versions := map[int]string{}
			for level := 1; level <= 3; level++ {
				m.publish(level, "", nil)
				versions[level] = m.place().linked()
			}
			c.damage(t, m, versions)
			rec := m.publish(c.next, "", nil)
			if got := strings.TrimPrefix(m.ledger(), "published 1, published 2, published 3, "); got != c.want || m.shown() != c.shown {
				t.Errorf("got %s shown, ledger %q, want %s and %q; %s", m.shown(), got, c.shown, c.want, decision(rec))
			}
			again := m.ledger()
			if rec := m.publish(c.next, "", nil); rec.summary.Exit != 0 || m.ledger() != again {
				t.Errorf("once more: exit %d, ledger %q", rec.summary.Exit, m.ledger())
			}
			m.publish(9, "", nil)
			entries, _ := os.ReadDir(m.place().versions())
			var left []string
			for _, e := range entries {
				if !strings.HasPrefix(e.Name(), ".pipe-place-") { // these are swept after a day
					left = append(left, e.Name())
				}
			}
			if len(left) > keepVersions+2 || m.shown() != "9" {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// make puts a version of a level among the others, and returns its digest.
func (m *models) make(t *testing.T, level int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := writeModel(dir, level); err != nil {
		t.Fatal(err)
	}
	d, err := manifest.Folder(dir)
	if err == nil {
		err = os.Rename(dir, m.place().version(d.String()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func (m *models) relink(t *testing.T, digest string) {
	t.Helper()
	if err := m.place().link(digest); err != nil {
		t.Fatal(err)
	}
}

// A reader that follows the link once sees one model, while runs and roll-backs take
// turns.
func TestReaderSeesTheOldOrTheNew(t *testing.T) {
	m := newModels(t)
	m.publish(1, "", nil)
	m.publish(2, "", nil)
	stop, seen := make(chan struct{}), make(chan map[string]int)
	go func() {
		levels := map[string]int{}
		defer func() { seen <- levels }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			level, err := readModel(m.to)
			if err != nil {
				t.Error(err)
				return
			}
			levels[level]++
		}
	}()
	for range 25 {
		if _, err := Rollback(context.Background(), m.store, m.to, 1, time.Now()); err != nil {
			t.Fatal(err)
		}
		m.publish(2, "", func(r *Runner) { r.Promote = true })
	}
	close(stop)
	levels := <-seen
	if got := slices.Sorted(maps.Keys(levels)); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("the reader saw %v", levels)
	}
}

// readModel reads a model as a program does that follows the link once.
func readModel(to string) (string, error) {
	root, err := os.OpenRoot(to)
	if err != nil {
		return "", err
	}
	defer root.Close()
	read := func(name string) string {
		f, err := root.Open(name)
		if err != nil {
			return err.Error()
		}
		defer f.Close()
		b, _ := io.ReadAll(f)
		return string(b)
	}
	config := read("config")
	time.Sleep(50 * time.Microsecond) // a chance to be mixed up
	if weights := read("weights"); weights != strings.Repeat(fmt.Sprintf("%08s", config), parts) {
		return "", fmt.Errorf("config %s with weights %.40s…", config, weights)
	}
	return config, nil
}

func TestRollbackRestoresAVersionThatWasChanged(t *testing.T) {
	m := newModels(t)
	m.publish(1, "", nil)
	first := m.place().linked()
	m.publish(2, "", nil)
	os.WriteFile(filepath.Join(m.place().version(first), "config"), []byte("7"), 0o666)
	done, err := Rollback(context.Background(), m.store, m.to, 1, time.Now())
	if err != nil || m.shown() != "1" || done.Digest != first || *done.Score != 1 {
		t.Errorf("got %+v, %v, %s is published", done, err, m.shown())
	}
	if _, err := Rollback(context.Background(), m.store, m.to, 1, time.Now()); !errors.Is(err, ErrNoVersion) {
		t.Errorf("got %v", err)
	}
	if _, err := Rollback(context.Background(), m.store, m.to+"x", 1, time.Now()); !errors.Is(err, ErrNoVersion) {
		t.Errorf("got %v", err)
	}
}

func FuzzScores(f *testing.F) {
	f.Add([]byte(`{"suite":"s","base":"b","template":"t","scores":{"x":0.98}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseScores(b); err == nil && s.Scores == nil {
			t.Fatal("no scores and no error")
		}
	})
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }
