package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"pipe/cache"
	"pipe/pipeline/explain"
	"pipe/pipeline/runner"
)

type whyCommand struct {
	storeFlag
	Stage   string `arg:"" help:"The stage."`
	File    string `arg:"" optional:"" help:"The pipeline file, to explain what it would do now; that of the newest run by default."`
	RunName string `name:"run" help:"Why it ran in that run: an id, the beginning or end of one, last, last~1." placeholder:"RUN" xor:"when"`
	Now     bool   `help:"Why it would run now." xor:"when"`
	profileFlag
	Set  []string `help:"As in run." placeholder:"KEY=VALUE" sep:"none"`
	All  bool     `help:"List every record that changed, not the first few."`
	JSON bool     `name:"json" help:"Print the answer as one JSON object."`
}

// Run is called by kong.
func (c *whyCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	answer, err := c.answer(a, store)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, answer)
	}
	newWhyWriter(a.stdout, c.All).answer(answer)
	return nil
}

// answer explains the run that was asked for. Without a choice it explains what would
// run now if the stage is stale, else the newest run that executed it.
func (c *whyCommand) answer(a *app, store *cache.Store) (*explain.Answer, error) {
	e := &explain.Explainer{Store: store, Kinds: a.kinds}
	if c.RunName != "" {
		p, err := findRun(store, c.RunName)
		if err != nil {
			return nil, err
		}
		if names := stagesOf(p, c.Stage); len(names) > 0 {
			if c.Stage, err = onlyOne(c.Stage, names); err != nil {
				return nil, err
			}
		}
		answer, err := e.InRun(p, c.Stage)
		if err != nil {
			return nil, usageError{err}
		}
		return answer, nil
	}
	plan, err := a.planFor(store, c.File, c.profile(), c.Set)
	if err != nil {
		return nil, err
	}
	if c.Stage, err = selectOne(plan, c.Stage); err != nil {
		return nil, err
	}
	for _, s := range plan.Steps {
		for _, v := range s.Secrets {
			e.Secrets = append(e.Secrets, v.Name)
		}
	}
	r := a.newRunner(plan, store)
	r.Targets = []string{c.Stage}
	forecasts, err := r.Forecast(a.ctx)
	if err != nil {
		return nil, err
	}
	now, err := e.Now(forecasts, plan.Name, plan.Profile, c.Stage)
	if err != nil || c.Now || now.Outcome != string(runner.WouldHit) {
		return now, err
	}
	p, err := lastRun(store, func(p *runner.Past) bool {
		return p.Start.Pipeline == plan.Name && p.Start.Profile == plan.Profile && explain.Executed(p, c.Stage)
	})
	if err != nil {
		return now, nil // it was found in a store that others filled
	}
	return e.InRun(p, c.Stage)
}

func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// fewElements is how many records or lines of each sort are shown without --all.
const fewElements = 5

// whyWriter writes an answer as an indented tree.
type whyWriter struct {
	out  io.Writer
	most int
}

func newWhyWriter(out io.Writer, all bool) *whyWriter {
	if all {
		return &whyWriter{out: out, most: math.MaxInt}
	}
	return &whyWriter{out: out, most: fewElements}
}

func (w *whyWriter) line(depth int, format string, args ...any) {
	fmt.Fprintf(w.out, "%s%s\n", strings.Repeat("  ", depth), printable(fmt.Sprintf(format, args...)))
}

func (w *whyWriter) answer(a *explain.Answer) {
	switch {
	case a.Run == "" && a.Outcome == string(runner.WouldHit):
		w.line(0, "%s is up to date: %s", a.Stage, a.Why)
		return
	case a.Run == "":
		w.line(0, "%s %s: %s", a.Stage, a.Outcome, a.Why)
	default:
		w.line(0, "%s %s on %s in run %s: %s", a.Stage, a.Outcome, a.Time.Local().Format("2006-01-02 15:04:05"), a.Run, orUnchanged(a.Why))
	}
	if a.Against != "" {
		w.line(0, "compared with run %s:", a.Against)
	}
	w.causes(1, a.Causes)
}

func orUnchanged(s string) string {
	if s == "" {
		return "nothing had changed"
	}
	return s
}

func (w *whyWriter) causes(depth int, causes []explain.Cause) {
	for _, c := range causes {
		text := c.Text
		if c.Place != "" {
			text += "  (" + c.Place + ")"
		}
		if len(c.Causes) > 0 {
			text += ", because"
		}
		w.line(depth, "%s", text)
		if c.Diff != nil {
			w.diff(depth+1, c.Diff)
		}
		w.causes(depth+1, c.Causes)
	}
}

func (w *whyWriter) diff(depth int, d *explain.Diff) {
	if d.Note != "" {
		w.line(depth, "%s", d.Note)
		return
	}
	w.line(depth, "%s", diffCounts(d))
	w.changed(depth, d)
	w.elements(depth, "-", "removed", d, d.Removed)
	w.elements(depth, "+", "added", d, d.Added)
}

// diffCounts is "1 of 400 records changed, 2 added".
func diffCounts(d *explain.Diff) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(len(d.Changed), "changed")
	add(len(d.Added), "added")
	add(len(d.Removed), "removed")
	add(d.Respaced, "written in another way")
	if d.Reordered {
		parts = append(parts, "in another order")
	}
	if len(parts) == 0 {
		parts = []string{"differ only in blank lines or line ends"}
	}
	count := plural(d.New, d.Unit)
	if d.Old != d.New {
		count += fmt.Sprintf(" (were %d)", d.Old)
	}
	return count + ": " + strings.Join(parts, ", ")
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

func (w *whyWriter) changed(depth int, d *explain.Diff) {
	for i, c := range d.Changed {
		if i == w.most {
			w.line(depth, "and %d more that changed (--all lists them)", len(d.Changed)-i)
			return
		}
		name := elementName(d.Unit, c.New)
		if d.Unit != "file" && c.Old.Line != c.New.Line {
			name += fmt.Sprintf(" (was %s %d)", lineWord(d.Unit), c.Old.Line)
		}
		if c.Old.ID != c.New.ID {
			name += fmt.Sprintf(" (was %s)", c.Old.ID)
		}
		if len(c.Fields) == 0 {
			w.line(depth, "%s", name)
			w.oldNew(depth+1, c.Old.Text, c.New.Text)
		}
		for _, f := range c.Fields {
			w.line(depth, "%s, %s", name, f.Name)
			w.oldNew(depth+1, f.Old, f.New)
		}
		if c.Diff != nil {
			w.diff(depth+1, c.Diff)
		}
	}
}

func lineWord(unit string) string {
	if unit == "item" {
		return unit
	}
	return "line"
}

func elementName(unit string, e explain.Element) string {
	switch {
	case e.Path != "":
		return e.Path
	case e.ID != "":
		return fmt.Sprintf("line %d, record %s", e.Line, e.ID)
	}
	return fmt.Sprintf("%s %d", lineWord(unit), e.Line)
}

func (w *whyWriter) elements(depth int, mark, word string, d *explain.Diff, list []explain.Element) {
	for i, e := range list {
		if i == w.most {
			w.line(depth, "and %d more that were %s (--all lists them)", len(list)-i, word)
			return
		}
		w.line(depth, "%s %s", elementName(d.Unit, e), word)
		if e.Text != "" {
			w.line(depth+1, "%s %s", mark, oneLine(cut(e.Text, 0, excerptRunes)))
		}
	}
}

// excerptRunes is how much of a text is shown around what changed in it: it keeps
// the line on an ordinary terminal.
const excerptRunes = 66

func (w *whyWriter) oldNew(depth int, old, new string) {
	if old == "" && new == "" {
		return
	}
	from := commonPrefix(old, new)
	from = max(from-excerptRunes/3, 0)
	for _, side := range []struct{ mark, text string }{{"-", old}, {"+", new}} {
		w.line(depth, "%s %s", side.mark, oneLine(cut(side.text, from, excerptRunes)))
	}
}

// commonPrefix is the number of runes that two texts begin with.
func commonPrefix(a, b string) int {
	n := 0
	for a != "" && b != "" {
		x, size := utf8.DecodeRuneInString(a)
		y, _ := utf8.DecodeRuneInString(b)
		if x != y {
			break
		}
		n, a, b = n+1, a[size:], b[size:]
	}
	return n
}

// cut is so many runes of a text from one on, with an ellipsis where it was cut.
func cut(text string, from, most int) string {
	runes := []rune(text)
	from = min(from, len(runes))
	head, tail := "", ""
	if from > 0 {
		head = "…"
	}
	end := min(from+most, len(runes))
	if end < len(runes) {
		tail = "…"
	}
	return head + string(runes[from:end]) + tail
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", `\n`) }
