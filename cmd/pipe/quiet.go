package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"pipe/pipeline/explain"
	"pipe/pipeline/runner"
)

// quietSink says what a mail should say of a run: nothing if nothing was published
// and all is well, else a heading and a line for each thing that happened.
type quietSink struct {
	out, errors io.Writer
	now         func() time.Time

	heading string
	stopped explain.Interruption // nil at first
	notRun  int                  // stages that an interrupt kept from being started
	failed  []runner.Event
}

func (q *quietSink) Event(e runner.Event) {
	if q.stopped == nil {
		q.stopped = explain.Interruption{}
	}
	switch {
	case e.Type == "stage_end" && q.stopped.Before(e.Stage, e.Outcome, e.Why):
		q.notRun++
	case e.Type == "run_start":
		q.heading = fmt.Sprintf("%s (%s), %s", e.Pipeline, e.Profile, e.File)
	case e.Type == "log" && e.Level == "warn" && !e.Replayed:
		q.say("%s: warning: %s", e.Stage, logText(e))
	case e.Type == "stage_end" && e.Outcome == runner.Failed:
		q.failed = append(q.failed, e)
	case e.Type == "stage_end" && e.Outcome == runner.Skipped:
		q.say("%s: skipped: %s", e.Stage, e.Why)
	case e.Type == "stage_end" && e.Outcome == runner.Interrupted:
		q.say("%s: interrupted", e.Stage)
	case e.Type == "stage_end" && e.Outcome == runner.Ran && e.Withheld != "":
		q.say("%s: not to be published: %s", e.Stage, e.Withheld)
	case e.Type == "check" && e.Decision != "same" && e.Decision != "exempt":
		q.say("%s: %s", e.Stage, checkText(e))
	case e.Type == "attempt_kept":
		q.say("%s: its folder is kept: %s%s", e.Stage, e.Dir, because(e.Why))
	case e.Type == "publish":
		q.publish(e)
	}
}

func (q *quietSink) publish(e runner.Event) {
	switch e.Decision {
	case "published":
		q.say("%s: published %s at %s", e.Stage, e.Port, e.To)
	case "restored":
		q.say("%s: warning: %s had been changed; restored", e.Stage, e.To)
	case "failed", "refused":
		q.failed = append(q.failed, e)
	case "kept":
		if e.New {
			q.say("%s: %s is not published: %s", e.Stage, e.Port, e.Why)
		}
	}
}

// Summary tells of what failed, on standard error.
func (q *quietSink) Summary(runner.Summary) {
	if q.notRun > 0 {
		q.say("%s not started", plural(q.notRun, "stage"))
	}
	for _, e := range q.failed {
		q.say("%s: failed", e.Stage)
		fmt.Fprintf(q.errors, "pipe: stage %q failed:\n%s\n", e.Stage, printableText(e.Error))
	}
}

// say prints a line, the first one below the heading with the time: mails and log
// files keep lines of many runs.
func (q *quietSink) say(format string, args ...any) {
	if q.heading != "" {
		fmt.Fprintf(q.out, "%s  %s\n", q.now().Format("2006-01-02 15:04"), printable(q.heading))
		q.heading = ""
	}
	fmt.Fprintln(q.out, "  "+printable(strings.TrimRight(fmt.Sprintf(format, args...), "\n")))
}
