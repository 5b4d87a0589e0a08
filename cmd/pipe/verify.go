package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"pipe/cache"
	"pipe/pipeline/runner"
)

type verifyCommand struct {
	storeFlag
	File   string     `arg:"" optional:"" help:"Look only at what runs of this pipeline file made and published; at the whole store by default."`
	Sample sampleSize `help:"Read so much of it, chosen by chance: a share, or a size." placeholder:"10%|SIZE"`
	Repair bool       `help:"Move what is damaged away and run the stages that made it; say what cannot be made again."`
	JSON   bool       `name:"json" help:"Print one JSON object."`
}

// Run is called by kong.
func (c *verifyCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	uses, err := runner.UsesOf(store, time.Time{})
	if err != nil {
		return infrastructureError{err}
	}
	v := &verification{command: c, app: a, store: store, uses: uses}
	if c.File != "" {
		if err := v.only(c.File); err != nil {
			return err
		}
	}
	if !store.Exists() && !c.JSON {
		return sayNoStore(a.stdout, store)
	}
	if err := v.check(); err != nil {
		return err
	}
	if c.Repair && len(v.report.Bad) > 0 {
		if err := v.repair(); err != nil {
			return err
		}
	}
	_ = store.Close() // what is known to be right need not be read again
	if err := v.print(); err != nil {
		return err
	}
	if slices.ContainsFunc(v.report.Bad, func(b finding) bool { return !b.Repaired }) {
		return exitStatus(exitFailed)
	}
	return nil
}

// verification is a store that is being verified.
type verification struct {
	command *verifyCommand
	app     *app
	store   *cache.Store
	uses    *runner.Uses

	wanted map[cache.Key]bool // nil is all
	report verifyReport
}

// verifyReport is what was looked at, and what is wrong.
type verifyReport struct {
	Records int       `json:"records"`
	Objects int       `json:"objects"` // blobs and states
	Places  int       `json:"places"`  // versions that are published
	Bytes   int64     `json:"bytes"`   // that were read
	All     int64     `json:"all"`     // that there are
	Seconds float64   `json:"seconds"`
	Busy    int       `json:"busy"` // states that a run has, which were not read
	Bad     []finding `json:"bad"`
}

// badHistory is a run's history among what is damaged.
const badHistory = "history"

// finding is something that is damaged.
type finding struct {
	cache.Bad
	Stages   []runner.StageUse `json:"stages"`
	Repaired bool              `json:"repaired"`
	Remark   string            `json:"remark,omitempty"` // what was done about it, or why nothing can be

	place *runner.BadPlace
}

// only limits the verification to what runs of a file made. A file of which no run is
// known is a mistake.
func (v *verification) only(file string) error {
	v.wanted = map[cache.Key]bool{}
	path := realPath(file)
	for k, stages := range v.uses.Stages {
		v.wanted[k] = slices.ContainsFunc(stages, func(s runner.StageUse) bool { return fileOf(s) == path })
	}
	keep, known := map[string]bool{}, false
	err := runner.EachPast(v.store, func(p *runner.Past) bool {
		if fileOf(runner.StageUse{File: p.Start.File, Dir: p.Start.Dir}) == path {
			known = true
			for _, e := range p.Events {
				if e.Type == "publish" {
					keep[absoluteIn(p.Start.Dir, e.To)] = true
				}
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	if !known {
		return v.unknown(file)
	}
	v.uses.Places = slices.DeleteFunc(v.uses.Places, func(p runner.PublishedPlace) bool { return !keep[p.To] })
	return nil
}

// unknown says that there is nothing to look at for a file.
func (v *verification) unknown(file string) error {
	if _, err := os.Stat(file); err != nil {
		return usageError{fmt.Errorf("there is no pipeline file %s (pipe verify takes a file and no stages; without one it looks at the whole store)", file)}
	}
	unread := ""
	if n := len(v.uses.Damaged); n > 0 {
		unread = fmt.Sprintf("; %s cannot be read (pipe verify)", plural(n, "file")+" of run histories")
	}
	return usageError{fmt.Errorf("the store %s knows no run of %s%s", v.store.Dir(), file, unread)}
}

// check reads everything.
func (v *verification) check() error {
	started := time.Now()
	p := newVerifyProgress(v.app.stderr, started, v.command.JSON)
	options := cache.CheckOptions{Progress: p.show}
	if v.command.Sample != nil {
		options.Sample = v.command.Sample
	}
	if v.wanted != nil {
		options.Wanted = func(k cache.Key) bool { return v.wanted[k] }
	}
	checked, err := v.store.CheckAll(v.app.ctx, options)
	if err != nil {
		p.end()
		return err
	}
	r := &v.report
	r.Records, r.Objects, r.Bytes, r.All, r.Busy, r.Bad = checked.Records, checked.Objects, checked.Bytes, checked.All, checked.Busy, []finding{}
	for _, b := range checked.Bad {
		r.Bad = append(r.Bad, finding{Bad: b, Stages: v.stagesOf(b)})
	}
	for _, h := range v.uses.Damaged {
		r.Bad = append(r.Bad, finding{Bad: cache.Bad{What: badHistory, Name: h.Run, Path: h.Path, Why: "cannot be read: " + h.Why}, Stages: []runner.StageUse{}})
	}
	places, err := runner.CheckPlaces(v.app.ctx, v.uses.Places, func(_ string, size int64) {
		r.Places++
		r.Bytes += size
		r.All += size
	})
	p.end()
	for _, b := range places {
		r.Bad = append(r.Bad, finding{Bad: cache.Bad{What: "published", Name: b.Digest.String(), Path: b.Path, Why: b.Why}, Stages: []runner.StageUse{}, place: &b})
	}
	r.Seconds = time.Since(started).Seconds()
	return err
}

// stagesOf lists the stages whose results something bad belongs to.
func (v *verification) stagesOf(b cache.Bad) []runner.StageUse {
	found := []runner.StageUse{}
	keys := []cache.Key{}
	var k cache.Key
	if b.What == "record" && k.UnmarshalText([]byte(b.Name)) == nil {
		keys = append(keys, k)
	}
	for _, n := range b.Named {
		if !slices.Contains(keys, n.Key) {
			keys = append(keys, n.Key)
		}
	}
	for _, k := range keys {
		found = append(found, v.uses.Stages[k]...)
	}
	return found
}

func (v *verification) print() error {
	r := &v.report
	if v.command.JSON {
		return printJSON(v.app.stdout, r)
	}
	w := v.app.stdout
	for _, b := range r.Bad {
		name := b.Name
		if b.What != badHistory {
			name = shortName(name)
		}
		fmt.Fprintf(w, "%s %s %s\n", b.What, printable(name), printable(b.Why))
		fmt.Fprintf(w, "  %s\n", printable(b.Path))
		for _, line := range v.belongings(b) {
			fmt.Fprintf(w, "  %s\n", printable(line))
		}
		if b.Remark != "" {
			fmt.Fprintf(w, "  %s\n", printable(b.Remark))
		}
	}
	rate := ""
	if r.Seconds > 0 {
		rate = fmt.Sprintf(" in %s (%s/s)", seconds(r.Seconds), bytesText(int64(float64(r.Bytes)/r.Seconds)))
	}
	fmt.Fprintf(w, "read %s, %s, %s: %s of %s%s\n", plural(r.Records, "record"), plural(r.Objects, "object"), plural(r.Places, "published version"), bytesText(r.Bytes), bytesText(r.All), rate)
	if r.Busy > 0 {
		fmt.Fprintf(w, "not read, because runs have them: %s\n", plural(r.Busy, "state"))
	}
	repaired := 0
	for _, b := range r.Bad {
		if b.Repaired {
			repaired++
		}
	}
	switch {
	case len(r.Bad) == 0:
		fmt.Fprintln(w, "all is as it should be")
	case v.command.Repair:
		fmt.Fprintf(w, "%d damaged, %d repaired\n", len(r.Bad), repaired)
	default:
		fmt.Fprintf(w, "%d damaged (pipe verify --repair makes again what can be made)\n", len(r.Bad))
	}
	return nil
}

func shortName(name string) string { return name[:min(12, len(name))] }

// belongings says what something bad is part of.
func (v *verification) belongings(b finding) []string {
	var lines []string
	add := func(line string) {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for _, n := range b.Named {
		stages := v.uses.Stages[n.Key]
		for _, s := range stages {
			add(fmt.Sprintf("%s of %s in %s (%s)", n.As, s.Stage, s.Pipeline, s.Profile))
		}
		if len(stages) == 0 {
			add(fmt.Sprintf("%s of a result of kind %s that no run tells of", n.As, n.Kind))
		}
	}
	if len(b.Named) == 0 {
		for _, s := range b.Stages {
			add(fmt.Sprintf("of %s in %s (%s)", s.Stage, s.Pipeline, s.Profile))
		}
	}
	return lines
}

// verifyProgress shows on a terminal how far a verification is.
type verifyProgress struct {
	mu      sync.Mutex // guards shown
	out     io.Writer
	started time.Time
	shown   time.Time
}

// newVerifyProgress returns one that shows nothing where nobody looks.
func newVerifyProgress(out io.Writer, started time.Time, quiet bool) *verifyProgress {
	f, ok := out.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		out = nil
	}
	return &verifyProgress{out: out, started: started}
}

func (p *verifyProgress) show(done, all int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.out == nil || now.Sub(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = now
	rate := float64(done) / max(now.Sub(p.started).Seconds(), 1e-3)
	fmt.Fprintf(p.out, "\r\x1b[K%s of %s, %.0f %%, %s/s, %s left", bytesText(done), bytesText(all), 100*float64(done)/float64(max(all, 1)),
		bytesText(int64(rate)), seconds(float64(all-done)/max(rate, 1)))
}

func (p *verifyProgress) end() {
	if p.out != nil && !p.shown.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// sampleSize says how many bytes of so many are to be read.
type sampleSize func(all int64) int64

// UnmarshalText is called by kong.
func (s *sampleSize) UnmarshalText(text []byte) error {
	wrong := fmt.Errorf("must be a share above 0 %% and up to 100 %%, as in 10%%, or a size, as in 10MiB, got %q", text)
	if number, ok := strings.CutSuffix(string(text), "%"); ok {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !(v > 0 && v <= 100) {
			return wrong
		}
		*s = func(all int64) int64 { return int64(math.Ceil(float64(all) * v / 100)) }
		return nil
	}
	var size byteSize
	if _, err := strconv.ParseFloat(string(text), 64); err == nil || size.UnmarshalText(text) != nil {
		return wrong // a bare number may be meant as either
	}
	*s = func(int64) int64 { return int64(size) }
	return nil
}
