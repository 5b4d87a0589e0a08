package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"pipe/cache"
	"pipe/pipeline/runner"
)

type storeCommand struct {
	storeFlag
	Pin   string `help:"Have gc leave the results of a run alone." placeholder:"RUN"`
	Unpin string `help:"Let gc have them again." placeholder:"RUN"`
	JSON  bool   `name:"json" help:"Print one JSON object."`
}

// Run is called by kong.
func (c *storeCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	for name, on := range map[string]bool{c.Pin: true, c.Unpin: false} {
		if name == "" {
			continue
		}
		run, err := findRun(store, name)
		if err != nil {
			return err
		}
		if err := runner.Pin(store, run.ID, on); err != nil {
			return err
		}
	}
	if !store.Exists() && !c.JSON {
		return sayNoStore(a.stdout, store)
	}
	inv, err := store.Inventory(a.ctx)
	if err != nil {
		return infrastructureError{err}
	}
	uses, err := runner.UsesOf(store, time.Time{})
	if err != nil {
		return infrastructureError{err}
	}
	u, err := usageOf(inv, uses)
	if err != nil {
		return infrastructureError{err}
	}
	u.Store, u.Pinned = store.Dir(), append([]string{}, runner.Pinned(store)...)
	if c.JSON {
		return printJSON(a.stdout, u)
	}
	return u.print(a.stdout)
}

// theStore opens the store for a command that is about nothing else: where one that was
// named is not there, the name is wrong.
func (f *storeFlag) theStore() (*cache.Store, error) {
	store, err := peekStore(f.Store)
	if err == nil && !store.Exists() && f.Store != defaultStore {
		return nil, usageError{fmt.Errorf("there is no store at %s (--store or $PIPE_STORE)", store.Dir())}
	}
	return store, err
}

func sayNoStore(w io.Writer, store *cache.Store) error {
	_, err := fmt.Fprintf(w, "there is no store yet at %s (pipe run makes it)\n", store.Dir())
	return err
}

// share is a part of the store's space.
type share struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	Results int    `json:"results,omitempty"`
}

// usage is what takes a store's space. Every byte is counted once in each list: what
// several have made, for the first.
type usage struct {
	Store     string   `json:"store"`
	Bytes     int64    `json:"bytes"`
	Kinds     []share  `json:"kinds"`     // outputs, by the kind of the stage that made them
	Others    []share  `json:"others"`    // what is no output
	Pipelines []share  `json:"pipelines"` // outputs, by the pipeline that used them first
	Free      int64    `json:"free"`      // what gc frees without limits
	Loose     int64    `json:"loose"`     // what gc could free with them: neither published nor pinned nor unfinished
	Pinned    []string `json:"pinned"`    // runs
}

func usageOf(inv *cache.Inventory, uses *runner.Uses) (*usage, error) {
	u := &usage{Bytes: inv.Total(), Pinned: []string{}}
	now := time.Now()
	plain, err := inv.Plan(uses.Known, cache.Limits{}, now)
	if err != nil {
		return nil, err
	}
	most, err := inv.Plan(uses.Known, cache.Limits{Size: 1}, now)
	if err != nil {
		return nil, err
	}
	u.Free, u.Loose = plain.Freed, most.Freed
	counted := map[cache.Digest]bool{}
	take := func(digests []cache.Digest) (sum int64) {
		for _, d := range digests {
			if !counted[d] {
				counted[d] = true
				sum += inv.Blobs[d]
			}
		}
		return sum
	}
	kinds, pipelines := map[string]*share{}, map[string]*share{}
	var records, beside int64
	for _, h := range inv.Records {
		var outputs int64
		for _, port := range slices.Sorted(maps.Keys(h.Outputs)) {
			list, err := inv.Expand(h.Outputs[port])
			if err != nil {
				return nil, err
			}
			outputs += take(list)
		}
		add(kinds, h.Kind, outputs)
		add(pipelines, pipelineOf(h, uses), outputs)
		beside += take(h.Blobs)
		records += h.Size
	}
	u.Kinds, u.Pipelines = bySize(kinds), bySize(pipelines)
	var explaining, garbage int64
	for _, o := range uses.Known.Objects {
		list, err := inv.Expand(o.Object)
		if err != nil {
			return nil, err
		}
		explaining += take(list)
	}
	for d := range inv.Blobs {
		garbage += take([]cache.Digest{d})
	}
	u.Others = others(inv, beside, records, explaining, garbage)
	return u, nil
}

// others lists what is no output, the largest first.
func others(inv *cache.Inventory, beside, records, explaining, garbage int64) []share {
	var unfinished, done, kept share
	for _, st := range inv.States {
		to := &unfinished
		if st.About.Done {
			to = &done
		}
		to.Bytes += st.Size
		to.Results++
	}
	for _, k := range inv.Kept {
		kept.Bytes += k.Size
		kept.Results++
	}
	all := []share{
		{Name: "logs and attachments", Bytes: beside}, {Name: "records", Bytes: records},
		{Name: "inputs and descriptions kept to explain by", Bytes: explaining},
		{Name: "what nothing names", Bytes: garbage},
		{Name: "states of unfinished stages", Bytes: unfinished.Bytes, Results: unfinished.Results},
		{Name: "states that a larger budget may go on from", Bytes: done.Bytes, Results: done.Results},
		{Name: "histories of runs", Bytes: inv.History},
		{Name: "failed attempts that were kept", Bytes: kept.Bytes, Results: kept.Results},
		{Name: "attempts under way", Bytes: inv.Attempts}, {Name: "quarantine", Bytes: inv.Quarantine},
		{Name: "indexes and locks", Bytes: inv.Others},
	}
	return largestFirst(all)
}

// largestFirst sorts shares, and leaves out those of nothing.
func largestFirst(all []share) []share {
	all = slices.DeleteFunc(all, func(s share) bool { return s.Bytes == 0 })
	slices.SortStableFunc(all, func(a, b share) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return all
}

// pipelineOf names the pipeline and profile that used a result first.
func pipelineOf(h *cache.Holding, uses *runner.Uses) string {
	stages := uses.Stages[h.Key]
	if len(stages) == 0 {
		return "(no run tells)"
	}
	first := stages[len(stages)-1]
	return fmt.Sprintf("%s (%s)", first.Pipeline, first.Profile)
}

func add(to map[string]*share, name string, size int64) {
	if to[name] == nil {
		to[name] = &share{Name: name}
	}
	to[name].Bytes += size
	to[name].Results++
}

func bySize(shares map[string]*share) []share {
	list := []share{}
	for _, name := range slices.Sorted(maps.Keys(shares)) {
		list = append(list, *shares[name])
	}
	slices.SortStableFunc(list, func(a, b share) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return list
}

func (u *usage) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n", u.Store, bytesText(u.Bytes))
	for _, part := range []struct {
		title, unit string
		shares      []share
	}{{"outputs by stage kind", "result", u.Kinds}, {"outputs by pipeline", "result", u.Pipelines}, {"the rest", "", u.Others}} {
		if len(part.shares) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, s := range part.shares {
			fmt.Fprintf(t, "  %s\t%s", printable(s.Name), bytesText(s.Bytes))
			if part.unit != "" {
				fmt.Fprintf(t, "\t%s", plural(s.Results, part.unit))
			} else if s.Results > 0 {
				fmt.Fprintf(t, "\t%d", s.Results)
			}
			fmt.Fprintln(t)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\npipe gc frees %s; with --max-size or --older-than, up to %s\n", bytesText(u.Free), bytesText(u.Loose))
	for _, run := range u.Pinned {
		fmt.Fprintf(w, "pinned: %s\n", run)
	}
	return nil
}
