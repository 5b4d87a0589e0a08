package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"pipe/internal/logging"
	"pipe/pipeline/explain"
	"pipe/pipeline/runner"
)

// jsonSink writes every event as a line of JSON, and logs besides.
type jsonSink struct {
	out io.Writer
	log logging.Logger
}

func (s *jsonSink) Event(e runner.Event) {
	s.line(e)
	if e.Type == "log" {
		fields := []any{"stage", e.Stage}
		for _, f := range e.Fields {
			fields = append(fields, f.Name, f.Value)
		}
		if e.Level == "warn" {
			s.log.Warn(e.Message, fields...)
		} else {
			s.log.Info(e.Message, fields...)
		}
	}
	if e.Error != "" {
		s.log.Error("failed", "stage", e.Stage, "error", e.Error)
	}
}

func (s *jsonSink) Summary(sum runner.Summary) { s.line(sum) }

func (s *jsonSink) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("internal error: event: " + err.Error())
	}
	s.out.Write(append(b, '\n'))
}

// display writes plain lines.
type display struct {
	out      io.Writer
	errors   io.Writer
	notices  io.Writer // where it is said that an interrupt was heard
	stopped  explain.Interruption
	failed   []runner.Event // stages, to be told of in full at the end
	running  map[string]*runningStage
	replayed map[string]bool // stages of which an old log was begun
	names    int             // width of the longest stage name
}

func newDisplay(out, errors io.Writer) *display {
	return &display{out: out, errors: errors, notices: errors, stopped: explain.Interruption{}, running: map[string]*runningStage{}, replayed: map[string]bool{}}
}

type runningStage struct{ started, shown time.Time }

func (d *display) Event(e runner.Event) {
	switch e.Type {
	case "run_start":
		for _, name := range e.Stages {
			d.names = max(d.names, len(name))
		}
		d.print("%s (%s)", e.Pipeline, e.Profile)
	case "stage_start":
		d.running[e.Stage] = &runningStage{started: e.Time, shown: e.Time}
		d.stage(e.Stage, "runs: %s", e.Why)
	case "progress":
		d.progress(e)
	case "log":
		mark := ""
		if e.Level == "warn" {
			mark = "warning: "
		}
		if e.Replayed && !d.replayed[e.Stage] {
			d.replayed[e.Stage] = true
			d.stage(e.Stage, "cached; it said when it ran:")
		}
		d.stage(e.Stage, "%s%s", mark, logText(e))
	case "retry":
		d.retry(e)
	case "stage_end":
		delete(d.running, e.Stage)
		d.end(e)
	case "publish":
		d.published(e)
	case "check":
		d.stage(e.Stage, "%s", checkText(e))
	case "attempt_kept":
		d.stage(e.Stage, "%s", keptText(e))
	case "stopping":
		fmt.Fprintf(d.notices, "pipe: stopping: waiting for %s; again to end at once\n", plural(len(e.Stages), "stage"))
	}
}

// checkText says what came of running a stage again whose result is known.
func checkText(e runner.Event) string {
	switch e.Decision {
	case "same":
		return fmt.Sprintf("checked: the same bytes, in %s", seconds(e.Seconds))
	case "exempt":
		return "not checked: " + e.Why
	case "other tier":
		return "checked: other bytes, as may be between tiers: " + e.Why
	}
	return "warning: checked: " + e.Why
}

// keptText says where a failed attempt is, and how to do it again.
func keptText(e runner.Event) string {
	text := fmt.Sprintf("its folder is kept: %s\nagain: %s", e.Dir, e.Command)
	if e.Why != "" {
		text += "\nwarning: " + e.Why
	}
	return text
}

func (d *display) Summary(runner.Summary) {
	for _, e := range d.failed {
		fmt.Fprintf(d.errors, "pipe: stage %q failed:\n%s\n", e.Stage, printableText(e.Error))
	}
}

// logText is a log entry on one line.
func logText(e runner.Event) string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, f := range e.Fields {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s %s", sep, f.Name, showField(f.Value))
	}
	return b.String()
}

func showField(v any) string {
	switch x := v.(type) {
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1e15 {
			return fmt.Sprintf("%.0f", x)
		}
		return fmt.Sprintf("%.4g", x)
	case []string:
		return strings.Join(x, " | ")
	case []any:
		parts := make([]string, len(x))
		for i, p := range x {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, " | ")
	}
	return fmt.Sprint(v)
}

func (d *display) end(e runner.Event) {
	if d.stopped.Before(e.Stage, e.Outcome, e.Why) {
		return // the last line counts them
	}
	switch e.Outcome {
	case runner.Ran:
		d.stage(e.Stage, "ran in %s", seconds(e.Seconds))
	case runner.Cached:
		if !d.replayed[e.Stage] {
			d.stage(e.Stage, "cached")
		}
	case runner.Failed:
		first, _, _ := strings.Cut(e.Error, "\n")
		d.stage(e.Stage, "failed: %s", first)
		d.failed = append(d.failed, e)
	case runner.Skipped:
		d.stage(e.Stage, "skipped: %s", e.Why)
	case runner.Interrupted:
		d.stage(e.Stage, "interrupted; %s", e.Why)
	}
	if e.Withheld != "" {
		d.stage(e.Stage, "not to be published: %s", e.Withheld)
	}
}

func (d *display) retry(e runner.Event) {
	first, _, _ := strings.Cut(e.Why, "\n")
	d.stage(e.Stage, "failed: %s; attempt %d of %d begins in %s", first, e.Attempt, e.Attempts, seconds(e.Seconds))
}

func (d *display) published(e runner.Event) {
	switch e.Decision {
	case "published":
		d.stage(e.Stage, "published %s at %s%s", e.Port, e.To, because(e.Why))
	case "kept":
		d.stage(e.Stage, "not published, %s stays as it is%s", e.To, because(e.Why))
	case "restored":
		d.stage(e.Stage, "warning: %s had been changed; restored", e.To)
	case "failed", "refused":
		d.stage(e.Stage, "failed to publish %s: %s", e.Port, e.Error)
		d.failed = append(d.failed, e)
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// A stage's progress is a line now and then: often at first, seldom in a long stage.
const (
	firstPause = 2 * time.Second
	laterPause = 15 * time.Second
	laterAfter = time.Minute
)

func (d *display) progress(e runner.Event) {
	s := d.running[e.Stage]
	if s == nil {
		return
	}
	pause := firstPause
	if e.Time.Sub(s.started) > laterAfter {
		pause = laterPause
	}
	if e.Time.Sub(s.shown) >= pause {
		s.shown = e.Time
		d.stage(e.Stage, "%s", progressText(e))
	}
}

// progressText is "step 45 of 225, 20 %, 9,120 tokens/s, 12s left, loss 0.31".
func progressText(e runner.Event) string {
	var parts []string
	if e.Total > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s %s", count(e.Done), count(e.Total), e.Unit), fmt.Sprintf("%.0f %%", 100*e.Done/e.Total))
	} else {
		parts = append(parts, count(e.Done)+" "+e.Unit)
	}
	if e.Rate > 0 {
		unit := e.RateUnit
		if unit == "" {
			unit = e.Unit
		}
		parts = append(parts, fmt.Sprintf("%s %s/s", count(e.Rate), unit))
	}
	if e.SecondsLeft > 0 {
		parts = append(parts, seconds(e.SecondsLeft)+" left")
	}
	if e.Text != "" {
		parts = append(parts, e.Text)
	}
	return strings.Join(parts, ", ")
}

// count is a number with separators.
func count(v float64) string {
	if v < 10 && v != float64(int64(v)) {
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// seconds is a length of time for people.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", s*1000)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", s)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

func (d *display) stage(name, format string, args ...any) {
	for i, line := range strings.Split(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n") {
		label := name
		if i > 0 {
			label = ""
		}
		d.print("%-*s  %s", d.names, label, line)
	}
}

func (d *display) print(format string, args ...any) {
	fmt.Fprintln(d.out, printable(fmt.Sprintf(format, args...)))
}

// printable keeps data from moving the terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '·'
		}
		return r
	}, s)
}

// printForecasts lists what a run would do.
func printForecasts(w io.Writer, forecasts []runner.Forecast) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range forecasts {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Step.Name, f.Prospect, printable(f.Why))
	}
	t.Flush()
}

// printSummary is the last line of a run.
func printSummary(w io.Writer, sum runner.Summary) {
	n, stopped := map[runner.Outcome]int{}, explain.Interruption{}
	for _, s := range sum.Stages {
		if stopped.Before(s.Stage, s.Outcome, s.Why) {
			n[explain.NotStarted]++
		} else {
			n[s.Outcome]++
		}
	}
	fmt.Fprintf(w, "\n%s\n", counts(n))
	if text := checkCount(sum.Checked()); text != "" {
		fmt.Fprintln(w, text)
	}
}
