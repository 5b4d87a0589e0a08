//go:build unix

package faulttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"pipe/internal/atomicfile"
)

// Campaign tries all cases, in processes of its own, and remembers in a file which it
// has tried, so that it can be gone on with.
type Campaign struct {
	path    string
	Program string            `json:"program"` // digest: what was tried of another does not count
	Sizes   Sizes             `json:"sizes"`
	Next    int               `json:"next"` // the first case that was not tried
	Tallies map[string]*Tally `json:"tallies"`
	Failed  []string          `json:"failed,omitempty"` // cases, with what was wrong
	Seconds float64           `json:"seconds"`

	cases []Case
}

// campaignSeed shuffles the cases.
const campaignSeed = 1

// NewCampaign goes on with the campaign at path, or begins one.
func NewCampaign(path string) (*Campaign, error) {
	program, err := digestOfSelf()
	if err != nil {
		return nil, err
	}
	c := &Campaign{path: path}
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, c) != nil || c.Program != program {
		*c = Campaign{path: path, Program: program, Tallies: map[string]*Tally{}}
		if err := c.measure(); err != nil {
			return nil, err
		}
	}
	c.cases = c.Sizes.Cases(campaignSeed)
	for _, part := range Parts {
		if c.Tallies[part] == nil {
			c.Tallies[part] = &Tally{}
		}
		c.Tallies[part].All = 0
	}
	for _, one := range c.cases {
		c.Tallies[one.Part].All++
	}
	return c, nil
}

func digestOfSelf() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func (c *Campaign) measure() error {
	dir, err := Scratch()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	lab, err := NewLab(dir)
	if err != nil {
		return err
	}
	c.Sizes, err = lab.Sizes()
	return err
}

// Done says whether all cases were tried.
func (c *Campaign) Done() bool { return c.Next >= len(c.cases) }

// atOnce is how many cases are handed out before the file is written.
const atOnce = 200

// Run tries cases for so long, or until all were tried. report is told of each that
// failed, and now and then how far it is.
func (c *Campaign) Run(budget time.Duration, report func(line string)) error {
	started := time.Now()
	workers := make([]*worker, max(runtime.GOMAXPROCS(0), 1))
	defer func() {
		for _, w := range workers {
			if w != nil {
				w.end()
			}
		}
	}()
	for !c.Done() && time.Since(started) < budget {
		block := time.Now()
		batch := c.cases[c.Next:min(c.Next+atOnce, len(c.cases))]
		if err := c.tryAll(batch, workers, report); err != nil {
			return err
		}
		c.Next += len(batch)
		c.Seconds += time.Since(block).Seconds()
		if err := c.save(); err != nil {
			return err
		}
		if c.Next%(10*atOnce) == 0 || c.Done() {
			report(fmt.Sprintf("%d of %d cases, %d failed, %.0f s", c.Next, len(c.cases), len(c.Failed), c.Seconds))
		}
	}
	return nil
}

// tryAll has the workers try cases; one that ended is replaced.
func (c *Campaign) tryAll(batch []Case, workers []*worker, report func(line string)) error {
	next := make(chan Case)
	errs := make([]error, len(workers))
	var mu sync.Mutex // guards tallies and report
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for one := range next {
				if errs[i] == nil && workers[i] == nil {
					workers[i], errs[i] = startWorker()
				}
				if errs[i] != nil {
					continue // the rest goes to nobody
				}
				started := time.Now()
				hit, failure, alive := workers[i].try(one)
				if !alive {
					workers[i] = nil
				}
				mu.Lock()
				c.note(one, hit, failure, time.Since(started), report)
				mu.Unlock()
			}
		})
	}
	for _, one := range batch {
		next <- one
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Campaign) note(one Case, hit bool, failure string, took time.Duration, report func(line string)) {
	t := c.Tallies[one.Part]
	t.Tried++
	t.Seconds += took.Seconds()
	if hit {
		t.Hit++
	}
	if failure != "" {
		t.Failed++
		line := fmt.Sprintf("%s\n\t%s", one, failure)
		c.Failed = append(c.Failed, line)
		report(line)
	}
}

func (c *Campaign) save() error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(filepath.Dir(c.path)); err != nil {
		return err
	}
	return atomicfile.Write(c.path, b, 0o666)
}

// The figures stand between these lines of docs/reliability.md.
const (
	figuresBegin = "<!-- written by make campaign -->\n"
	figuresEnd   = "<!-- end -->\n"
)

// WriteFigures puts the figures into a document, in the place of older ones.
func (c *Campaign) WriteFigures(document string) error {
	b, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	head, rest, ok1 := bytes.Cut(b, []byte(figuresBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(figuresEnd))
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for figures", document)
	}
	text := string(head) + figuresBegin + c.figures() + figuresEnd + string(tail)
	return atomicfile.Write(document, []byte(text), 0o666)
}

func (c *Campaign) figures() string {
	about := map[string]string{
		"errno":   "each error, once and to stay, at each operation; half a write on a full disk",
		"kill":    "SIGKILL at each operation, and half-way through each write",
		"instant": "SIGKILL at any instant",
		"cut":     "power cut after each change of the disk, by what it may leave",
		"damage":  "files flipped, cut, zeroed, emptied, lengthened, swapped or removed",
	}
	var text strings.Builder
	k := c.Sizes.Kinds
	fmt.Fprintf(&text, "Operations of a first run: %d, of a run after an edit: %d, of one that finds everything done: %d. Changes of the disk that a power cut may come after: %d.\n\n",
		len(k["fresh"]), len(k["edit"]), len(k["hit"]), c.Sizes.Changes)
	text.WriteString("| part | what goes wrong | cases | tried | hit | failed |\n|---|---|---:|---:|---:|---:|\n")
	for _, part := range Parts {
		t := c.Tallies[part]
		fmt.Fprintf(&text, "| %s | %s | %d | %d | %d | %d |\n", part, about[part], t.All, t.Tried, t.Hit, t.Failed)
	}
	text.WriteString("\n")
	if c.Done() {
		fmt.Fprintf(&text, "All cases were tried, in %.0f minutes on %d processors.\n", c.Seconds/60, runtime.GOMAXPROCS(0))
	} else {
		fmt.Fprintf(&text, "%.0f %% of the cases were tried, of each part the same share, chosen by seed %d, in %.0f minutes on %d processors; `make campaign` goes on.\n",
			100*float64(c.Next)/float64(len(c.cases)), campaignSeed, c.Seconds/60, runtime.GOMAXPROCS(0))
	}
	return text.String()
}
