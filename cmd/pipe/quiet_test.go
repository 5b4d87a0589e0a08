package main

import (
	"bytes"
	"testing"
	"time"

	"pipe/pipeline/runner"
)

func TestQuietSaysWhatAMailShould(t *testing.T) {
	start := runner.Event{Type: "run_start", Pipeline: "p", Profile: "night", File: "p.yaml"}
	const heading = "2026-11-23 03:00  p (night), p.yaml\n"
	for _, c := range []struct {
		name   string
		events []runner.Event
		exit   int
		out    string
		errors string
	}{
		{name: "all cached, with a warning of long ago", events: []runner.Event{
			{Type: "log", Stage: "a", Level: "warn", Message: "old", Replayed: true}, {Type: "stage_end", Stage: "a", Outcome: runner.Cached},
			{Type: "publish", Stage: "a", Port: "x", Decision: "unchanged"}}},
		{name: "ran to the same end", events: []runner.Event{
			{Type: "stage_start", Stage: "a"}, {Type: "log", Stage: "a", Level: "info", Message: "said"}, {Type: "progress", Stage: "a"}, {Type: "stage_end", Stage: "a", Outcome: runner.Ran}}},
		{name: "warned and published", events: []runner.Event{
			{Type: "log", Stage: "a", Level: "warn", Message: "hot"}, {Type: "publish", Stage: "a", Port: "x", To: "out\x1b", Decision: "published"}},
			out: heading + "  a: warning: hot\n  a: published x at out·\n"},
		{name: "a new decision not to publish", exit: 3, events: []runner.Event{
			{Type: "stage_end", Stage: "a", Outcome: runner.Ran, Withheld: "too bad"}, {Type: "publish", Stage: "a", Port: "x", Decision: "withheld", Why: "too bad"},
			{Type: "publish", Stage: "b", Port: "y", Decision: "kept", Why: "a worse score", New: true}},
			out: heading + "  a: not to be published: too bad\n  b: y is not published: a worse score\n"},
		{name: "an old decision not to publish", events: []runner.Event{
			{Type: "stage_end", Stage: "a", Outcome: runner.Cached, Withheld: "too bad"}, {Type: "publish", Stage: "b", Port: "y", Decision: "kept", Why: "a worse score"}}},
		{name: "a new one in a run that fails", exit: 1, events: []runner.Event{
			{Type: "publish", Stage: "b", Port: "y", Decision: "kept", Why: "a worse score", New: true}, {Type: "publish", Stage: "c", Port: "z", Decision: "refused", Error: "another base"}},
			out: heading + "  b: y is not published: a worse score\n  c: failed\n", errors: "pipe: stage \"c\" failed:\nanother base\n"},
		{name: "failed", exit: 1, events: []runner.Event{
			{Type: "stage_end", Stage: "a", Outcome: runner.Failed, Error: "line one\nline two"}, {Type: "stage_end", Stage: "b", Outcome: runner.Skipped, Why: "needs a"}},
			out: heading + "  b: skipped: needs a\n  a: failed\n", errors: "pipe: stage \"a\" failed:\nline one\nline two\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errors bytes.Buffer
			q := &quietSink{out: &out, errors: &errors, now: func() time.Time { return time.Date(2026, 11, 23, 3, 0, 0, 0, time.Local) }}
			q.Event(start)
			for _, e := range c.events {
				q.Event(e)
			}
			q.Summary(runner.Summary{Exit: c.exit})
			if out.String() != c.out || errors.String() != c.errors {
				t.Errorf("got\n%s%swant\n%s%s", out.String(), errors.String(), c.out, c.errors)
			}
		})
	}
}
