package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"pipe/stages"
)

// theme is how the live view draws.
type theme struct {
	unicode bool
	colour  bool
}

// style is the part of a theme that a text is drawn in.
type style int

const (
	plain style = iota
	faint
	bold
	good
	bad
)

var styles = map[style]ansi.Style{
	faint: ansi.NewStyle().Faint(),
	bold:  ansi.NewStyle().Bold(),
	good:  ansi.NewStyle().ForegroundColor(ansi.Green),
	bad:   ansi.NewStyle().ForegroundColor(ansi.Red),
}

func (t theme) paint(s style, text string) string {
	if !t.colour || s == plain || text == "" {
		return text
	}
	return styles[s].Styled(text)
}

// either picks a glyph.
func (t theme) either(unicode, ascii string) string {
	if t.unicode {
		return unicode
	}
	return ascii
}

func (t theme) ellipsis() string { return t.either("…", "..") }

// bandMark fills the part of a plot where a band lies.
func (t theme) bandMark(isBad bool) string {
	if isBad {
		return t.either("╌", "-")
	}
	return t.either("░", ":")
}

// bandStyle is the colour of what lies in a band; nil is none.
func bandStyle(b *stages.Band) style {
	switch {
	case b == nil:
		return plain
	case b.Bad:
		return bad
	}
	return good
}

// sparkline draws a curve in one line of so many columns.
func (t theme) sparkline(c *followed, columns int) string {
	levels := []rune(t.either("▁▂▃▄▅▆▇█", "_.-=+*#"))
	a := newAxis(c)
	var b strings.Builder
	for i := range columns {
		x := c.column(i, columns)
		level := int(float64(len(levels)) * a.place(x))
		b.WriteString(t.paint(bandStyle(bandAt(c.last.Bands, x)), string(levels[min(max(level, 0), len(levels)-1)])))
	}
	return b.String()
}

// plot draws a curve in rows lines of so many columns, the bands behind it.
func (t theme) plot(c *followed, columns, rows int) []string {
	a := newAxis(c)
	cells := make([][]rune, rows)
	for r := range cells {
		cells[r] = make([]rune, columns)
	}
	previous := -1
	for i := range columns * dotColumns {
		x := a.place(c.column(i, columns*dotColumns))
		y := int(math.Round((1 - min(max(x, 0), 1)) * float64(rows*dotRows-1)))
		from, to := y, y
		if previous >= 0 { // a line and no cloud of dots
			from, to = min(y, previous+1), max(y, previous-1)
		}
		for d := from; d <= to; d++ {
			cells[d/dotRows][i/dotColumns] |= brailleDots[d%dotRows][i%dotColumns]
		}
		previous = y
	}
	lines := make([]string, rows)
	step := 1 / float64(rows)
	for r := range lines {
		top := 1 - float64(r)*step
		lines[r] = t.plotLine(cells[r], a.bandOver(c.last.Bands, top-step, top))
	}
	return lines
}

// plotLine draws a line of a plot: dots where the curve is, else the mark of the band.
func (t theme) plotLine(cells []rune, band *stages.Band) string {
	fill, fillStyle := " ", plain
	if band != nil {
		fill, fillStyle = t.bandMark(band.Bad), bandStyle(band)
		if !band.Bad {
			fillStyle = faint
		}
	}
	var line, run strings.Builder
	onCurve := false
	flush := func() {
		s := fillStyle
		if onCurve {
			s = bandStyle(band)
		}
		line.WriteString(t.paint(s, run.String()))
		run.Reset()
	}
	for _, dots := range cells {
		if (dots != 0) != onCurve {
			flush()
			onCurve = dots != 0
		}
		if onCurve {
			run.WriteString(t.either(string(blankBraille+dots), "*"))
		} else {
			run.WriteString(fill)
		}
	}
	flush()
	return line.String()
}

// bandOver returns the band that covers half of the part of a plot between two places,
// or lies in it whole, or nil. Bad ones come last: a thin healthy band must be seen.
func (a axis) bandOver(bands []stages.Band, low, high float64) *stages.Band {
	var found *stages.Band
	for i, b := range bands {
		from, to := math.Inf(-1), math.Inf(1)
		if b.Low != nil {
			from = a.place(*b.Low)
		}
		if b.High != nil {
			to = a.place(*b.High)
		}
		overlap := min(to, high) - max(from, low)
		covers := overlap >= (high-low)/2 || overlap >= 0 && from >= low && to < high
		if covers && (found == nil || found.Bad) {
			found = &bands[i]
		}
	}
	return found
}

// bandText is "healthy 0.08–0.25" or "overfitting under 0.07".
func (t theme) bandText(b stages.Band) string {
	switch {
	case b.Low != nil && b.High != nil:
		return fmt.Sprintf("%s %.3g%s%.3g", b.Name, *b.Low, t.either("–", "-"), *b.High)
	case b.High != nil:
		return fmt.Sprintf("%s under %.3g", b.Name, *b.High)
	case b.Low != nil:
		return fmt.Sprintf("%s over %.3g", b.Name, *b.Low)
	}
	return b.Name
}

// bandTexts are ways to tell of a figure's bands, the fullest first.
func (t theme) bandTexts(v stages.Value) []string {
	var all, healthy []string
	for _, b := range v.Bands {
		all = append(all, t.bandText(b))
		if !b.Bad {
			healthy = append(healthy, t.bandText(b))
		}
	}
	texts := []string{strings.Join(all, ", "), strings.Join(healthy, ", ")}
	if in := bandAt(v.Bands, v.Value); in != nil {
		texts = append(texts, in.Name)
	}
	for _, b := range v.Bands {
		if !b.Bad {
			texts = append(texts, strings.TrimPrefix(t.bandText(b), b.Name+" "))
		}
	}
	return append(texts, "")
}
