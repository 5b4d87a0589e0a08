package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pipe/internal/redact"
	"pipe/pipeline"
	"pipe/stages"
)

// TestNoEventHoldsASecret: every text of an event that a stage has a say in is masked.
func TestNoEventHoldsASecret(t *testing.T) {
	const token = "tok-0123456789"
	b := newBench(t)
	b.does["say"] = func(_ context.Context, env *stages.Env, _ int, _, _ string) error {
		env.Progress(stages.Progress{Text: token, Unit: token, RateUnit: token, Values: []stages.Value{{Name: token, Value: 1}},
			Samples: []stages.Sample{{Of: token, Text: "a " + token, Note: token}}})
		return fmt.Errorf("no %s", token)
	}
	rec := b.run("pipeline: p\nstages:\n  a: { uses: do, with: { do: say } }\n", func(r *Runner) {
		r.Plan.Set = []string{"params.w=" + token}
		r.Plan.Steps[0].Secrets = []pipeline.Variable{{Name: "TOKEN"}}
		r.LookupEnv = func(string) (string, bool) { return token, true }
	})
	if len(ofType(rec, "progress")) != 1 {
		t.Fatal("there was no progress")
	}
	for _, e := range append(rec.events, Event{Error: fmt.Sprint(rec.summary)}) {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, token) || e.Type == "run_start" && !strings.Contains(text, "***") {
			t.Errorf("got %s", text)
		}
	}
}

func TestOldLogsAreMasked(t *testing.T) {
	r := &Runner{masked: redact.New([]string{"12345678"})}
	r.maskOnce.Do(func() {})
	lines := "{\"level\":\"info\",\"message\":\"a 12345678\",\"fields\":[{\"name\":\"n\",\"value\":12345678}]}\n{\"level\":\"info\",\"message\":\"b\"}\n"
	want := "{\"level\":\"info\",\"message\":\"a ***\",\"fields\":[{\"name\":\"n\",\"value\":\"***\"}]}\n{\"level\":\"info\",\"message\":\"b\"}\n"
	l := stageLog{runner: r}
	l.resume([]byte(lines))
	if got := string(l.lines()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestAttachmentsAreWhole: what the mask holds back of one that its stage leaves open is
// written.
func TestAttachmentsAreWhole(t *testing.T) {
	b := newBench(t)
	b.does["attach"] = func(_ context.Context, env *stages.Env, _ int, _, out string) error {
		f, err := env.Attach("notes.txt")
		if err == nil {
			_, err = f.Write([]byte("all of it, tok-"))
		}
		return errors.Join(err, os.WriteFile(out, nil, 0o666))
	}
	r, _ := b.runner("pipeline: p\nstages:\n  a: { uses: do, with: { do: attach } }\n", func(r *Runner) {
		r.Plan.Steps[0].Secrets = []pipeline.Variable{{Name: "TOKEN"}}
		r.LookupEnv = func(string) (string, bool) { return "tok-0123456789", true }
	})
	if _, err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	got, err := b.store.ReadBlob(r.Record("a").Attachments["notes.txt"].Digest)
	if string(got) != "all of it, tok-" {
		t.Errorf("got %q, %v", got, err)
	}
}
