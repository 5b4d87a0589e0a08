package runner

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pipe/cache"
	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
)

const (
	openHistory  = ".jsonl"
	endedHistory = ".jsonl.zst"
)

// history writes the events of a run; nil writes none.
type history struct {
	store *cache.Store
	id    string
	file  *faultfs.File
	out   *bufio.Writer
}

func newRunID(now time.Time) string {
	var random [3]byte
	rand.Read(random[:])
	return now.UTC().Format("20060102T150405.000") + "-" + hex.EncodeToString(random[:])
}

func startHistory(store *cache.Store, id string) (*history, error) {
	f, err := faultfs.OpenFile(filepath.Join(store.RunsDir(), id+openHistory), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	return &history{store: store, id: id, file: f, out: bufio.NewWriterSize(f, 32<<10)}, err
}

// lineBuffers are for lines of a history.
var lineBuffers = sync.Pool{New: func() any { return new([]byte) }}

// eventLine is an event as a line of a history, in one of lineBuffers. One that cannot be
// encoded is left out.
func eventLine(e Event) *[]byte {
	line := lineBuffers.Get().(*[]byte)
	b, ok := appendEnd((*line)[:0], &e)
	if ok {
		b = append(b, '\n')
	} else {
		b = append(b, jsonLine(e)...)
	}
	*line = b
	return line
}

func jsonLine(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return append(b, '\n')
}

// summaryLine is a summary as the last line of a history. Stages that were known, and not
// looked at any closer, are left out: their ends have said the same.
func summaryLine(s Summary) []byte {
	s.Stages = slices.DeleteFunc(slices.Clone(s.Stages), func(r StageResult) bool { return r.Outcome == Cached && r.Check == "" })
	return jsonLine(s)
}

// add appends a line; it may wait in memory if another follows soon. History is for people:
// a full disk does not fail the run that could still finish.
func (h *history) add(line []byte, mayWait bool) {
	if h == nil {
		return
	}
	h.out.Write(line)
	if !mayWait {
		h.out.Flush()
	}
}

// end compresses the history. That of a run in which nothing happened is not worth
// waiting for the disk, which is most of what such a run would do: should the machine go
// down, a history that was torn is found to be damaged, and the runs before tell the same.
func (h *history) end(idle bool) error {
	if h == nil {
		return nil
	}
	h.out.Flush()
	h.file.Close()
	b, err := faultfs.ReadFile(h.file.Name())
	if err != nil {
		return err
	}
	frame, err := cache.Compress(b)
	if err != nil {
		return err
	}
	write := atomicfile.Write
	if idle {
		write = atomicfile.WriteUnsynced
	}
	if err := write(strings.TrimSuffix(h.file.Name(), openHistory)+endedHistory, frame, 0o666); err != nil {
		return err
	}
	return faultfs.Remove(h.file.Name())
}

// drop takes the history away: there is nothing to tell.
func (h *history) drop() error {
	if h == nil {
		return nil
	}
	h.file.Close()
	return faultfs.Remove(h.file.Name())
}

// Past is a run as its history tells it.
type Past struct {
	ID      string
	Start   Event
	Events  []Event
	Summary *Summary // nil if the run was killed, or is under way
}

// Result returns what a stage's last stage_end said.
func (p *Past) Result(stage string) (StageResult, bool) {
	for _, e := range slices.Backward(p.Events) {
		if e.Type == "stage_end" && e.Stage == stage {
			return StageResult{Stage: stage, Outcome: e.Outcome, Key: e.Key, Why: e.Why, Seconds: e.Seconds}, true
		}
	}
	return StageResult{}, false
}

// EachPast calls visit with the runs of a store, newest first, until it returns
// false. Histories that cannot be read are passed over.
func EachPast(store *cache.Store, visit func(p *Past) bool) error {
	return eachHistory(store, func(_ string, p *Past, _ error) bool { return p == nil || visit(p) })
}

// eachHistory calls visit with the histories of a store, newest first, until it returns
// false. damage says what cannot be read of one; p is what can be, or nil.
func eachHistory(store *cache.Store, visit func(id string, p *Past, damage error) bool) error {
	entries, err := faultfs.ReadDir(store.RunsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is no store yet
	}
	if err != nil {
		return err
	}
	last := ""
	for _, e := range slices.Backward(entries) {
		id, ok := strings.CutSuffix(e.Name(), endedHistory)
		if !ok {
			if id, ok = strings.CutSuffix(e.Name(), openHistory); !ok {
				continue
			}
		}
		if id == last {
			continue // compressed, and the process died before it removed this one
		}
		last = id
		if p, damage := readHistory(store, id); (p != nil || damage != nil) && !visit(id, p, damage) {
			return nil
		}
	}
	return nil
}

// readHistory returns nothing, and no error, of a run that has told nothing yet, or whose
// history was removed meanwhile.
func readHistory(store *cache.Store, id string) (*Past, error) {
	read := func(suffix string) (*Past, error) {
		b, err := faultfs.ReadFile(filepath.Join(store.RunsDir(), id+suffix))
		if err == nil && suffix == endedHistory {
			b, err = cache.Decompress(b)
		}
		if err != nil {
			return nil, err
		}
		return parseHistory(id, b)
	}
	p, err := read(endedHistory)
	if err == nil {
		return p, nil
	}
	if plain, plainErr := read(openHistory); plain != nil || errors.Is(err, fs.ErrNotExist) {
		p, err = plain, plainErr
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return p, err
}

// parseHistory returns what can be read of a history, and what is wrong with it. That
// the last line of a run that was killed is cut short is not.
func parseHistory(id string, b []byte) (p *Past, damage error) {
	p = &Past{ID: id}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		var e Event
		// A summary is no Event: its stages are results.
		if json.Unmarshal(line, &e) != nil && e.Type != "summary" {
			if whole := bytes.HasSuffix(line, []byte("\n")); whole && !json.Valid(line) && damage == nil {
				damage = fmt.Errorf("line %d is no JSON", number)
			}
			continue
		}
		switch e.Type {
		case "run_start":
			p.Start = e
		case "summary":
			p.Summary = &Summary{}
			json.Unmarshal(line, p.Summary)
		default:
			p.Events = append(p.Events, e)
		}
	}
	switch {
	case p.Start.Run != "" && p.Start.Run != id:
		return nil, fmt.Errorf("it is that of run %s", p.Start.Run)
	case p.Start.Type != "":
		return p, damage
	case damage == nil && bytes.IndexByte(b, '\n') >= 0:
		damage = errors.New("it has no run_start")
	}
	return nil, damage
}

// lastResults returns, by stage, the newest results of a pipeline and profile that
// ended in a record; it stops when it knows of all of stages. The run called except is
// left out.
func lastResults(store *cache.Store, pipeline, profile, except string, stages []string) map[string]StageResult {
	results := map[string]StageResult{}
	runs := 0
	EachPast(store, func(p *Past) bool {
		if p.ID == except || p.Start.Pipeline != pipeline || p.Start.Profile != profile {
			return true
		}
		runs++
		for _, e := range slices.Backward(p.Events) {
			if _, known := results[e.Stage]; known || e.Type != "stage_end" || e.Outcome != Ran && e.Outcome != Cached {
				continue
			}
			results[e.Stage] = StageResult{Stage: e.Stage, Outcome: e.Outcome, Key: e.Key}
		}
		missing := func(stage string) bool { _, known := results[stage]; return !known }
		return runs < oldestLooked && slices.ContainsFunc(stages, missing)
	})
	return results
}

// oldestLooked is how many runs of a pipeline are looked at for a stage's last result.
const oldestLooked = 200
