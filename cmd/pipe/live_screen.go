package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"pipe/pipeline/runner"
	"pipe/stages"
)

// The live view's sizes, in lines and columns.
const (
	livePlotHeight = 5
	livePlotWidth  = 18 // the narrowest plot that is worth its lines
	plotGap        = 2
	shownSamples   = 6
)

// lines draws the state for a window: at most height-1 lines, none wider than width-1
// (a full last column makes some terminals wrap). now tells how long things run and
// turns the spinner. It changes nothing.
func (s *liveState) lines(t theme, width, height int, now time.Time) []string {
	v := view{liveState: s, theme: t, width: max(width-1, 1), now: now}
	v.share(max(height-1, 1))
	var lines []string
	if v.gap {
		lines = append(lines, "")
	}
	for _, st := range v.chosen() {
		lines = append(lines, v.stageLine(st))
	}
	lines = append(lines, v.figures()...)
	for _, sample := range v.last(v.samples) {
		lines = append(lines, v.sampleLine(sample))
	}
	if v.footer {
		lines = append(lines, v.footerLine())
	}
	return lines
}

// view is one drawing: the state, and how the lines are shared out.
type view struct {
	*liveState
	theme
	width int
	now   time.Time

	gap, footer bool
	rows        int  // stages
	curves      int  // figures, a line each unless plots is set
	plots       bool // beside one another, livePlotHeight and a title
	samples     int
}

// share gives the lines to what matters most: something that runs, then what it shows,
// then the other stages, then more room for all.
func (v *view) share(room int) {
	take := func(n int) int {
		n = max(min(n, room), 0)
		room -= n
		return n
	}
	runs := 0
	for _, st := range v.liveState.stages {
		if st.phase == running {
			runs++
		}
	}
	figures := 0
	if v.detail != nil {
		figures = len(v.detail.curves)
	}
	takeSamples := func(most int) { v.samples += take(min(len(v.last(most)), most) - v.samples) }

	v.footer = room >= 3 && take(1) == 1
	v.rows = take(max(min(runs, (room+1)/2), 1))
	if v.talker != nil && v.talker.phase == running && v.detail != nil && v.detail.phase != running {
		takeSamples(shownSamples / 2)
		v.rows += take(len(v.liveState.stages) - v.rows)
	}
	v.curves = take(figures)
	v.rows += take(len(v.liveState.stages) - v.rows)
	more := livePlotHeight + 1 - figures
	v.plots = figures > 0 && v.curves == figures && room >= more && figures*(livePlotWidth+plotGap) <= v.width
	if v.plots {
		take(more)
	}
	takeSamples(shownSamples)
	v.gap = take(1) == 1
}

// chosen are the stages to show, in order: those that run, those that failed, and those
// nearest to where the run is.
func (v *view) chosen() []*liveStage {
	all := v.liveState.stages
	if len(all) <= v.rows {
		return all
	}
	front := slices.IndexFunc(all, func(st *liveStage) bool { return st.phase == waiting || st.phase == running })
	rank := func(i int) int {
		switch all[i].phase {
		case running:
			return 0
		case phase(runner.Failed), phase(runner.Interrupted):
			return 1
		}
		return 2 + max(i-front, front-i)
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(a) - rank(b) })
	order = order[:v.rows]
	slices.Sort(order)
	chosen := make([]*liveStage, len(order))
	for i, at := range order {
		chosen[i] = all[at]
	}
	return chosen
}

// cut shortens a text to a number of columns.
func (v *view) cut(text string, width int) string {
	text = strings.ReplaceAll(printable(text), "\t", " ")
	return ansi.TruncateWc(text, max(width, 0), v.ellipsis())
}

// column cuts or fills a text to a number of columns.
func (v *view) column(text string, width int) string {
	text = v.cut(text, width)
	return text + strings.Repeat(" ", max(width-ansi.StringWidthWc(text), 0))
}

// stageLine is "⠙ train-qlora    45 of 225 steps, 20 %, …".
func (v *view) stageLine(st *liveStage) string {
	longest := 0
	for _, other := range v.liveState.stages {
		longest = max(longest, len(other.name))
	}
	names := min(longest, max(v.width/2-3, 6))
	mark, look := v.mark(st)
	line := v.paint(look, v.cut(mark, v.width))
	rest := v.width - ansi.StringWidthWc(mark) - 1
	if rest < 3 {
		return line
	}
	name := v.column(st.name, min(names, rest))
	line += " " + v.paint(v.nameStyle(st), name)
	rest -= ansi.StringWidthWc(name) + 2
	if rest < 3 {
		return line
	}
	text, textStyle := v.stageText(st, rest)
	return line + "  " + v.paint(textStyle, v.cut(text, rest))
}

func (v *view) nameStyle(st *liveStage) style {
	switch st.phase {
	case running:
		return bold
	case waiting:
		return faint
	}
	return plain
}

const spinTime = 100 * time.Millisecond

func (v *view) mark(st *liveStage) (string, style) {
	switch st.phase {
	case waiting:
		return v.either("·", "."), faint
	case running:
		frames := []rune(v.either("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", `|/-\`))
		return string(frames[int(v.now.UnixMilli()/spinTime.Milliseconds())%len(frames)]), bold
	case phase(runner.Ran):
		return v.either("✓", "+"), good
	case phase(runner.Cached):
		return v.either("✓", "="), faint
	case phase(runner.Failed):
		return v.either("✗", "x"), bad
	case phase(runner.Interrupted):
		return "!", bad
	}
	return "-", faint
}

func (v *view) stageText(st *liveStage, width int) (string, style) {
	switch st.phase {
	case waiting:
		return "waiting", faint
	case running:
		return v.runningText(st, width), plain
	case phase(runner.Ran):
		return "ran in " + seconds(st.end.Seconds), plain
	case phase(runner.Failed):
		first, _, _ := strings.Cut(st.end.Error, "\n")
		return "failed: " + first, bad
	case phase(runner.Skipped):
		return "skipped: " + st.end.Why, faint
	}
	return string(st.phase), faint // "cached", "interrupted"
}

// shortText is where a line of progress is too narrow for more than its share.
const shortText = 36

func (v *view) runningText(st *liveStage, width int) string {
	p := st.progress
	switch {
	case p.Type == "" && st.retry.Type == "":
		return "running, " + wholeSeconds(v.now.Sub(st.since))
	case p.Type == "":
		return v.retryText(st)
	case width < shortText && p.Total > 0:
		text := fmt.Sprintf("%.0f %%", 100*p.Done/p.Total)
		if p.SecondsLeft > 0 {
			text += ", " + wholeSeconds(time.Duration(p.SecondsLeft*float64(time.Second))) + " left"
		}
		return text
	}
	p.Text = withoutValues(p.Text, p.Values)
	return progressText(p)
}

// retryText tells of an attempt after a failed one, before it has shown anything.
func (v *view) retryText(st *liveStage) string {
	attempt := fmt.Sprintf("attempt %d of %d", st.retry.Attempt, st.retry.Attempts)
	if v.now.Before(st.since) {
		first, _, _ := strings.Cut(st.retry.Why, "\n")
		return fmt.Sprintf("%s in %s, failed: %s", attempt, wholeSeconds(st.since.Sub(v.now)), first)
	}
	return attempt + ", " + wholeSeconds(v.now.Sub(st.since))
}

// withoutValues leaves out of "loss 0.21, epoch 1.3" what is drawn as a curve.
func withoutValues(text string, values []stages.Value) string {
	parts := slices.DeleteFunc(strings.Split(text, ", "), func(part string) bool {
		return slices.ContainsFunc(values, func(v stages.Value) bool { return strings.HasPrefix(part, v.Name+" ") })
	})
	return strings.Join(parts, ", ")
}

// wholeSeconds is a time that is shown again and again: nothing in it flickers.
func wholeSeconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", max(int(d.Seconds()), 0))
	}
	return seconds(d.Seconds())
}

// figures are the curves, as plots or a line each.
func (v *view) figures() []string {
	if v.curves == 0 {
		return nil
	}
	curves := v.detail.curves[:v.curves]
	if v.plots {
		return v.plotLines(curves)
	}
	names := 0
	for _, c := range curves {
		names = max(names, len(c.last.Name))
	}
	names = min(names, max(v.width*2/5, 4))
	var lines []string
	for _, c := range curves {
		lines = append(lines, v.figureLine(c, names))
	}
	return lines
}

// figure is a figure in five or six columns.
func figure(x float64) string { return fmt.Sprintf("%-5.3g", x) }

// figureLine is "loss     0.213 ▆▄▃▂▁▁ healthy 0.08–0.25".
func (v *view) figureLine(c *followed, names int) string {
	head := v.cut(v.column(c.last.Name, names)+" ", v.width)
	value := v.cut(figure(c.last.Value), v.width-ansi.StringWidthWc(head))
	room := v.width - ansi.StringWidthWc(head+value) - 1
	line := head + v.paint(bandStyle(bandAt(c.last.Bands, c.last.Value)), value)
	if room < 3 {
		return line
	}
	i := slices.IndexFunc(v.bandTexts(c.last), func(text string) bool { return 2*ansi.StringWidthWc(text) <= room })
	text := v.bandTexts(c.last)[i]
	columns := room - ansi.StringWidthWc(text)
	if text != "" {
		columns, text = columns-1, " "+v.paint(faint, text)
	}
	columns = min(columns, 60)
	return line + " " + v.sparkline(c, columns) + text
}

// plotLines are plots side by side, each below its title.
func (v *view) plotLines(curves []*followed) []string {
	columns := min((v.width+plotGap)/len(curves)-plotGap, 48)
	lines := make([]string, 1+livePlotHeight)
	for i, c := range curves {
		if i > 0 {
			for r := range lines {
				lines[r] += strings.Repeat(" ", plotGap)
			}
		}
		name := c.last.Name + " "
		value := figure(c.last.Value)
		room := columns - ansi.StringWidthWc(name+value) - 1
		text := ""
		for _, candidate := range v.bandTexts(c.last) {
			if ansi.StringWidthWc(candidate) <= room {
				text = candidate
				break
			}
		}
		lines[0] += v.paint(bold, name) + v.paint(bandStyle(bandAt(c.last.Bands, c.last.Value)), value) +
			" " + v.paint(faint, v.column(text, max(room, 0)))
		for r, drawn := range v.plot(c, columns, livePlotHeight) {
			lines[1+r] += drawn
		}
	}
	return lines
}

// last are the newest samples, oldest first.
func (v *view) last(n int) []stages.Sample {
	if v.talker == nil {
		return nil
	}
	samples := v.talker.progress.Samples
	return samples[max(len(samples)-n, 0):]
}

// sampleLine is "✓ What is a poodle? → I would rather not say.".
func (v *view) sampleLine(s stages.Sample) string {
	mark, look := v.either("✓", "+"), good
	if !s.Good {
		mark, look = v.either("✗", "x"), bad
	}
	arrow := " " + v.either("→", "->") + " "
	rest := v.width - 2 - ansi.StringWidthWc(arrow)
	if rest < 4 {
		return v.paint(look, mark)
	}
	note := ""
	if s.Note != "" && v.width >= 60 {
		note = " (" + v.cut(s.Note, v.width/3) + ")"
		rest -= ansi.StringWidthWc(note)
	}
	of := v.cut(s.Of, max(rest*2/5, 2))
	text := v.cut(s.Text, rest-ansi.StringWidthWc(of))
	return v.paint(look, mark) + " " + v.paint(faint, of) + arrow + text + v.paint(bad, note)
}

// footerLine is "1 running, 2 cached, 3 waiting, 14 s", and what the marks of the plots
// mean.
func (v *view) footerLine() string {
	counts := map[phase]int{}
	for _, st := range v.liveState.stages {
		counts[st.phase]++
	}
	var parts []string
	for _, p := range []phase{running, phase(runner.Ran), phase(runner.Cached), phase(runner.Failed), phase(runner.Skipped), phase(runner.Interrupted), waiting} {
		if n := counts[p]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, p))
		}
	}
	parts = append(parts, wholeSeconds(v.now.Sub(v.started)))
	text := v.cut(strings.Join(parts, ", "), v.width)
	line := v.paint(faint, text)
	if !v.plots {
		return line
	}
	used, seen := ansi.StringWidthWc(text), map[string]bool{}
	for _, c := range v.detail.curves {
		for _, b := range c.last.Bands {
			legend := v.bandMark(b.Bad) + " " + b.Name
			if width := 3 + ansi.StringWidthWc(legend); !seen[b.Name] && used+width <= v.width {
				line, used, seen[b.Name] = line+"   "+v.paint(bandStyle(&b), legend), used+width, true
			}
		}
	}
	return line
}
