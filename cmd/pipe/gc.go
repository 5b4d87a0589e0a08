package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"pipe/cache"
	"pipe/pipeline/runner"
)

type gcCommand struct {
	storeFlag
	MaxSize   byteSize `help:"Remove results and attempts that were kept, the largest and least used first, until the store is no larger." placeholder:"10GiB"`
	OlderThan span     `help:"Remove what no run has used for so long: results, states, histories, attempts that were kept." placeholder:"30d"`
	DryRun    bool     `short:"n" help:"Say what would go; remove nothing."`
	JSON      bool     `name:"json" help:"Print one JSON object."`
}

// Run is called by kong.
func (c *gcCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	if !store.Exists() && !c.JSON {
		return sayNoStore(a.stdout, store)
	}
	now := time.Now()
	limits := cache.Limits{Size: int64(c.MaxSize)}
	if c.OlderThan > 0 {
		limits.Before = now.Add(-time.Duration(c.OlderThan))
	}
	report := &gcReport{DryRun: c.DryRun}
	var uses *runner.Uses
	var inventory *cache.Inventory
	plan := func(inv *cache.Inventory) (*cache.Collection, error) {
		inventory = inv
		if uses, err = runner.UsesOf(store, limits.Before); err != nil {
			return nil, err
		}
		report.Before = inv.Total()
		return inv.Plan(uses.Known, limits, now)
	}
	collected, err := c.collect(a, store, plan)
	if collected == nil {
		return infrastructureError{err}
	}
	report.add(collected, uses, c.DryRun)
	if err == nil && !c.DryRun {
		_, err = runner.RemoveHistories(uses.Old)
	}
	if report.Short = limits.Size > 0 && report.After > limits.Size; report.Short {
		report.left = leftOver(inventory, collected, uses.Old)
	}
	report.Unsure = unsureOf(inventory, collected, uses)
	if printErr := c.print(a, report, limits); err == nil {
		err = printErr
	}
	return err
}

// collect removes what is planned or, in a dry run, only plans.
func (c *gcCommand) collect(a *app, store *cache.Store, plan func(*cache.Inventory) (*cache.Collection, error)) (*cache.Collection, error) {
	if c.DryRun || !store.Exists() {
		inv, err := store.Inventory(a.ctx)
		if err != nil {
			return nil, err
		}
		return plan(inv)
	}
	return store.Collect(a.ctx, plan, func(holder string) {
		a.log.Info("another collection is under way; waiting for it", "holder", holder)
	})
}

// gcReport is what a collection did, or would do.
type gcReport struct {
	DryRun    bool       `json:"dry_run"`
	Before    int64      `json:"before"` // the size of the store, in bytes
	After     int64      `json:"after"`
	Freed     int64      `json:"freed"`
	Garbage   int64      `json:"garbage"` // of freed: what nothing named
	Results   []gcResult `json:"results"`
	States    int        `json:"states"`
	Attempts  int        `json:"attempts"` // that had failed and were kept
	Blobs     int        `json:"blobs"`
	Histories int        `json:"histories"`
	Spared    int        `json:"spared"`  // what runs under way have begun to use
	Short     bool       `json:"too_big"` // what is left may not go, and is larger than asked for
	Unsure    []string   `json:"unsure"`  // what cannot be read, so that what it may name was left alone

	left []share // of what is Short
}

type gcResult struct {
	Key  string    `json:"key"`
	Kind string    `json:"kind"`
	Made time.Time `json:"made"`
	Last string    `json:"last,omitempty"` // who used it last
}

func (r *gcReport) add(c *cache.Collection, uses *runner.Uses, dry bool) {
	r.Freed, r.Garbage, r.After, r.Spared = c.Freed, c.Garbage, c.Left, c.Spared
	r.States, r.Attempts, r.Blobs, r.Histories = len(c.States), len(c.Kept), len(c.Blobs), len(uses.Old)
	for _, h := range uses.Old {
		r.Freed += h.Size
		r.After -= h.Size
	}
	r.Results = []gcResult{}
	for _, h := range c.Records {
		r.Results = append(r.Results, gcResult{h.Key.String(), h.Kind, h.Made.Time, uses.LastUse(h.Key)})
	}
}

// leftOver lists what a collection leaves, the largest first.
func leftOver(inv *cache.Inventory, c *cache.Collection, old []runner.History) []share {
	results := share{Name: "results and inputs that are published, pinned or in use"}
	for _, size := range inv.Blobs {
		results.Bytes += size
	}
	for _, d := range c.Blobs {
		results.Bytes -= inv.Blobs[d]
	}
	for _, h := range inv.Records {
		results.Bytes += h.Size
	}
	for _, h := range c.Records {
		results.Bytes -= h.Size
	}
	rest := *inv
	rest.States = slices.DeleteFunc(slices.Clone(inv.States), func(s cache.StateUse) bool {
		return slices.ContainsFunc(c.States, func(gone cache.StateUse) bool { return gone.Key == s.Key })
	})
	rest.Kept = slices.DeleteFunc(slices.Clone(inv.Kept), func(k cache.KeptAttempt) bool {
		return slices.ContainsFunc(c.Kept, func(gone cache.KeptAttempt) bool { return gone.Path == k.Path })
	})
	for _, h := range old {
		rest.History -= h.Size
	}
	rest.Quarantine = 0
	return largestFirst(append(others(&rest, 0, 0, 0, 0), results))
}

// unsureOf says what kept a collection from telling what is needed.
func unsureOf(inv *cache.Inventory, c *cache.Collection, uses *runner.Uses) []string {
	unsure := []string{}
	for _, h := range uses.Damaged {
		unsure = append(unsure, fmt.Sprintf("the history %s cannot be read (%s): what was made before %s stays, as its run may have used or published it. Run its pipeline again, which tells what is needed; then pipe verify --repair moves it away",
			h.Path, h.Why, h.Changed.Local().Format("2006-01-02 15:04:05")))
	}
	if len(inv.Unlisted) > 0 && c.Unnamed > 0 {
		unsure = append(unsure, fmt.Sprintf("the list of files of %s cannot be read: the %s that nothing else names stay. pipe verify --repair makes them again",
			plural(len(inv.Unlisted), "folder"), bytesText(c.Unnamed)))
	}
	return unsure
}

func (c *gcCommand) print(a *app, r *gcReport, limits cache.Limits) error {
	if c.JSON {
		return printJSON(a.stdout, r)
	}
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	for _, res := range r.Results {
		last := res.Last
		if last == "" {
			last = "a stage of kind " + res.Kind + " that no run tells of"
		}
		fmt.Fprintf(a.stdout, "%s a result of %s, made %s\n", verb, printable(last), res.Made.Local().Format("2006-01-02 15:04"))
	}
	var also []string
	for _, n := range []struct {
		count int
		what  string
	}{{r.States, "saved state"}, {r.Attempts, "failed attempt"}, {r.Histories, "old run"}} {
		if n.count > 0 {
			also = append(also, plural(n.count, n.what))
		}
	}
	if len(also) > 0 {
		fmt.Fprintf(a.stdout, "%s %s\n", verb, strings.Join(also, ", "))
	}
	if r.Spared > 0 {
		fmt.Fprintf(a.stdout, "left alone what runs under way have begun to use: %d\n", r.Spared)
	}
	freed := "freed"
	if r.DryRun {
		freed = "would free"
	}
	fmt.Fprintf(a.stdout, "%s %s of %s (%s that nothing named)\n", freed, bytesText(r.Freed), bytesText(r.Before), bytesText(r.Garbage))
	if r.Short {
		var parts []string
		for _, s := range r.left {
			parts = append(parts, fmt.Sprintf("%s %s", bytesText(s.Bytes), s.Name))
		}
		fmt.Fprintf(a.stdout, "%s are left, more than %s, and go for no limit of size: %s\n", bytesText(r.After), bytesText(limits.Size), strings.Join(parts, ", "))
	}
	for _, text := range r.Unsure {
		fmt.Fprintf(a.stdout, "%s\n", printable(text))
	}
	return nil
}

// byteSize is a flag's size in bytes: 500MB, 10GiB, 4096.
type byteSize int64

var byteUnits = []struct {
	name string
	size int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}

// UnmarshalText is called by kong.
func (s *byteSize) UnmarshalText(text []byte) error {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v > 0) || v*float64(u.size) > math.MaxInt64/2 {
			break
		}
		*s = byteSize(v * float64(u.size))
		return nil
	}
	return fmt.Errorf("must be a size above 0, as in 500MB or 10GiB, got %q", text)
}

// span is a flag's length of time: 36h, 30d, 8w.
type span time.Duration

// UnmarshalText is called by kong.
func (s *span) UnmarshalText(text []byte) error {
	const day = 24 * time.Hour
	for unit, length := range map[string]time.Duration{"d": day, "w": 7 * day} {
		if number, ok := strings.CutSuffix(string(text), unit); ok {
			if v, err := strconv.ParseFloat(number, 64); err == nil && v > 0 && v < 1e5 {
				*s = span(v * float64(length))
				return nil
			}
		}
	}
	if d, err := time.ParseDuration(string(text)); err == nil && d > 0 {
		*s = span(d)
		return nil
	}
	return fmt.Errorf("must be a length of time above 0, as in 36h or 30d, got %q", text)
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 3 {
		v, i = v/unit, i+1
	}
	return fmt.Sprintf("%.1f %s", v, []string{"KiB", "MiB", "GiB", "TiB"}[i])
}
