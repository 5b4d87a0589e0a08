package main

import (
	"bytes"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// frame is the block of lines at the end of a terminal's output that is written over
// again and again. Above it output goes on as ever and stays in the scrollback. The
// cursor rests at the beginning of its last line.
//
// The frame's last line never moves up: where it gets shorter, empty rows stay above it.
// A terminal that gets smaller then pushes those into the scrollback, and no part of the
// frame.
type frame struct {
	// reflows says that the terminal breaks lines anew when it gets narrower.
	reflows bool

	pad           int      // empty rows above the lines
	lines         []string // on the screen
	width, height int      // of the window when they were drawn
	lost          int      // rows right above it that a window got too low for; they come back
}

const (
	beginUpdate = ansi.SetModeSynchronizedOutput + ansi.ResetModeAutoWrap
	endUpdate   = ansi.SetModeAutoWrap + ansi.ResetModeSynchronizedOutput
)

// draw returns what to send to a terminal of that size, in columns and rows, so that
// above stands over the frame, for good, and lines, fewer than the window has rows, are
// the frame. above is empty or ends in a line feed; it may be wider than the window.
// Nothing is returned if nothing changes.
func (f *frame) draw(above string, lines []string, width, height int) []byte {
	var b bytes.Buffer
	if above == "" && width == f.width && height == f.height && len(lines) == len(f.lines) {
		f.update(&b, lines)
	} else {
		rows := f.clear(&b, width, height)
		if above != "" {
			b.WriteString(ansi.SetModeAutoWrap + strings.ReplaceAll(above, "\n", "\r\n") + ansi.ResetModeAutoWrap)
			rows -= rowsOf(strings.Split(strings.TrimSuffix(above, "\n"), "\n"), width)
			f.lost = 0
		}
		f.pad = max(min(rows, height-1)-len(lines), 0)
		if len(lines) == 0 {
			f.pad = 0
		}
		b.WriteString(strings.Repeat("\r\n", f.pad) + strings.Join(lines, "\r\n") + "\r")
	}
	f.lines, f.width, f.height = lines, width, height
	if b.Len() == 0 {
		return nil
	}
	return []byte(beginUpdate + b.String() + endUpdate)
}

// update rewrites the lines that changed.
func (f *frame) update(b *bytes.Buffer, lines []string) {
	last := len(lines) - 1
	at := last
	for i, line := range lines {
		if line != f.lines[i] {
			move(b, i-at)
			at = i
			b.WriteString(line + ansi.EraseLineRight + "\r")
		}
	}
	move(b, last-at)
}

// clear takes the frame off the screen and returns the number of rows that it took. The
// cursor is left where the frame began. Rows are erased one by one, since there are
// terminals that move a screen erased from its first row down into the scrollback (tmux).
func (f *frame) clear(b *bytes.Buffer, width, height int) (rows int) {
	above := f.pad + max(len(f.lines)-1, 0)
	rows = f.pad + len(f.lines)
	if f.reflows && width < f.width && len(f.lines) > 0 {
		last := len(f.lines) - 1
		above = f.pad + rowsOf(f.lines[:last], width)
		rows = above + rowsOf(f.lines[last:], width)
	}
	back := min(f.lost, max(height-f.height, 0))
	above, rows = above+back, rows+back
	f.lost += max(rows-height, 0) - back
	b.WriteString("\r" + ansi.EraseLineRight)
	below := max(rows-above-1, 0)
	b.WriteString(strings.Repeat(ansi.CursorDown(1)+ansi.EraseLineRight, below))
	move(b, -below)
	b.WriteString(strings.Repeat(ansi.CursorUp(1)+ansi.EraseLineRight, above))
	return rows
}

// forget is for when something else has written to the terminal: what was drawn is no
// longer the frame's.
func (f *frame) forget() { f.lines, f.pad, f.lost = nil, 0, 0 }

// rowsOf is the number of rows that lines take in a window so wide.
func rowsOf(lines []string, width int) int {
	rows := 0
	for _, line := range lines {
		rows += max((ansi.StringWidthWc(line)+width-1)/width, 1)
	}
	return rows
}

// move goes some lines down; up, if they are negative.
func move(b *bytes.Buffer, down int) {
	switch {
	case down > 0:
		b.WriteString(ansi.CursorDown(down))
	case down < 0:
		b.WriteString(ansi.CursorUp(-down))
	}
}
