package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pipe/cache"
	"pipe/pipeline"
	"pipe/pipeline/source"
)

// Prospect is what a run would do with a stage.
type Prospect string

const (
	WouldHit Prospect = "cached"
	WouldRun Prospect = "will run"
	MightRun Prospect = "may run"
	WouldNot Prospect = "cannot run"
)

// Forecast is a stage's prospect, with its reason.
type Forecast struct {
	Step     *pipeline.Step
	Prospect Prospect
	Why      string
	Key      string
	Record   *cache.Record // of a hit
	Inputs   map[string]InputUse
	Describe func() cache.Value // the description in the step's pre-image
}

// Forecast says what a run would do, without doing it. A stage below one that will
// run may run: that depends on the bytes that are made.
func (r *Runner) Forecast(ctx context.Context) ([]Forecast, error) {
	if r.Now == nil {
		r.Now = time.Now
	}
	r.pins = map[string]source.Pin{}
	records := map[*pipeline.Step]*cache.Record{}
	prospects := map[*pipeline.Step]Prospect{}
	var all []Forecast
	for _, s := range r.steps() {
		f := r.forecast(ctx, s, records, prospects)
		f.Why = r.mask().Text(f.Why)
		f.Inputs = r.knownUses(ctx, s, records)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		prospects[s] = f.Prospect
		if f.Record != nil {
			records[s] = f.Record
		}
		all = append(all, f)
	}
	_ = r.Store.Close() // the index of digests that were found
	return all, nil
}

func (r *Runner) forecast(ctx context.Context, s *pipeline.Step, records map[*pipeline.Step]*cache.Record, prospects map[*pipeline.Step]Prospect) Forecast {
	f := Forecast{Step: s, Describe: func() cache.Value { return r.describeNow(ctx, s) }}
	var waits []string
	for _, in := range s.Inputs {
		for from := range in.Makers() {
			if prospects[from] == WouldHit || slices.Contains(waits, from.Name) {
				continue
			}
			if prospects[from] == WouldNot {
				f.Prospect, f.Why = WouldNot, "needs "+from.Name
				return f
			}
			waits = append(waits, from.Name)
		}
	}
	if len(waits) > 0 {
		f.Prospect, f.Why = MightRun, dependsOn(waits)
		return f
	}
	inputs, err := r.bindInputs(ctx, s, records)
	if err != nil {
		f.Prospect, f.Why = WouldNot, err.Error()
		return f
	}
	env, err := r.environment(ctx, s)
	if err != nil {
		f.Prospect, f.Why = WouldNot, err.Error()
		return f
	}
	key := makeKey(s, inputs, env)
	f.Key = key.String()
	record, why := r.Store.Lookup(key)
	switch {
	case r.isRecomputed(s):
		f.Prospect, f.Why = WouldRun, "asked for by --recompute"
	case record != nil:
		f.Prospect, f.Record, f.Why = WouldHit, record, "made "+record.Made.Time.Local().Format("2006-01-02 15:04:05")
		if r.checks(s) && exempt(record) {
			f.Why += "; its time budget stopped it: it is not checked"
		} else if r.checks(s) {
			f.Why += "; it runs once more, and the bytes are compared"
		}
	case why != "":
		f.Prospect, f.Why = WouldRun, why
	default:
		f.Prospect, f.Why = WouldRun, r.explain(s, inputs, makePreimage(s, inputs, env))
	}
	return f
}

// dependsOn says that a step's fate hangs on what others will make.
func dependsOn(waits []string) string {
	switch n := len(waits); {
	case n == 1:
		return "depends on what " + waits[0] + " makes"
	case n > 4:
		return fmt.Sprintf("depends on what %s and %d more make", strings.Join(waits[:3], ", "), n-3)
	}
	const most = 3
	if len(waits) > most {
		waits = append(waits[:most:most], fmt.Sprintf("%d more", len(waits)-most))
	}
	return "depends on what " + strings.Join(waits, " and ") + " make"
}
