package runner

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"pipe/cache"
	"pipe/internal/manifest"

	"pgregory.net/rapid"
)

// checkEnd compares an event with what encoding/json makes of it.
func checkEnd(t rapid.TB, e Event) (plain bool) {
	want, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := appendEnd(nil, &e)
	if ok && string(got) != string(want) {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	return ok
}

func drawObject(t *rapid.T) cache.Object {
	return cache.Object{Kind: cache.ObjectKind(rapid.SampledFrom([]string{"file", "tree", "", "<"}).Draw(t, "kind")), Digest: manifest.Sum([]byte(rapid.String().Draw(t, "bytes"))), Size: rapid.Int64().Draw(t, "size")}
}

func TestEndsOfKnownStagesAreWrittenAsJSON(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "train-qlora", "s[ones=0,tens=1]", "a<b", "q\"uote", "back\\slash", "é", "\xff", "\u2028", "\x7f", "tab\t"}))
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", rapid.IntRange(-23*60, 23*60).Draw(t, "zone")*60)
		e := Event{Type: "stage_end", Outcome: Cached, Stage: text.Draw(t, "stage"), Key: text.Draw(t, "key"), Why: text.Draw(t, "why"),
			Time:    time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).In(zone),
			Seconds: rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 10), rapid.Just(0.0)).Draw(t, "seconds"),
			Params:  rapid.MapOfN(text, text, 0, 10).Draw(t, "params"),
			Outputs: rapid.MapOfN(text, rapid.Custom(drawObject), 0, 10).Draw(t, "outputs"),
			Inputs: rapid.MapOfN(text, rapid.Custom(func(t *rapid.T) *InputUse {
				u := &InputUse{From: text.Draw(t, "from"), Source: text.Draw(t, "source"), At: text.Draw(t, "at"), Reference: text.Draw(t, "reference"), Files: rapid.SliceOfN(text, 0, 2).Draw(t, "files")}
				if rapid.Bool().Draw(t, "content") {
					o := drawObject(t)
					u.Content = &o
				}
				return rapid.SampledFrom([]*InputUse{nil, {}, u}).Draw(t, "use")
			}), 0, 10).Draw(t, "inputs")}
		checkEnd(t, e)
	})
}

// What is said of such stages later must not be forgotten in appendEnd.
func TestAllThatIsSaidOfKnownStagesIsWritten(t *testing.T) {
	r, _ := newBench(t).runner(chain, nil)
	usual := r.Plan.Steps[1]
	o := cache.Object{Kind: cache.File, Size: 3}
	inputs := []boundInput{{input: usual.Inputs[0], content: cache.InputContent{Port: usual.Inputs[0].Port.Name, Object: o}}}
	res := stepResult{step: usual, outcome: Cached, key: "k", seconds: 0.5, inputs: inputs, record: &cache.Record{Outputs: map[string]cache.Object{"out": o}}}
	e := endOf(res)
	e.Time = time.Unix(1700000000, 1000).UTC()
	if !checkEnd(t, e) {
		t.Error("the usual event is left to encoding/json")
	}
	full := res
	full.why, full.attempts, full.check, full.differs, full.err = "why", 2, checkedOther, errors.New("differs"), errors.New("error")
	full.record = &cache.Record{Outputs: res.record.Outputs, Attachments: res.record.Outputs, Withheld: "withheld", Log: new(cache.Digest), Preimage: new(cache.Digest)}
	for _, change := range []func(r *stepResult){
		func(*stepResult) {},
		func(r *stepResult) { r.why = full.why },
		func(r *stepResult) { r.attempts = full.attempts },
		func(r *stepResult) { r.check, r.differs = full.check, full.differs },
		func(r *stepResult) { r.err = full.err },
		func(r *stepResult) { r.record = full.record },
		func(r *stepResult) { r.record = nil },
		func(r *stepResult) { *r = full },
	} {
		r := res
		change(&r)
		checkEnd(t, endOf(r))
		r.outcome = Failed
		checkEnd(t, endOf(r))
	}
}
