// Package problem describes what is wrong with something a user wrote: a
// pipeline file, a data set, a model folder.
//
// A problem names its place (file, line and column, or the byte offset in a
// binary file), what is there and, where that is known, what would be right.
// Readers collect all problems of a file and return them as one List.
package problem

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong.
type Problem struct {
	File string
	// Line and Col count from 1; Col counts bytes. 0 means unknown. In a binary
	// file Line is 0 and Offset is the byte, from 0.
	Line, Col int
	Offset    int64
	Binary    bool

	// Message says what is wrong, with the value: lower case, no full stop.
	Message string
	// Hint says what would be right. It may be empty.
	Hint string
	// Source is the line that the problem is in, for the excerpt. It may be empty.
	Source string
}

// At returns a problem in a text file.
func At(file string, line, col int, format string, args ...any) Problem {
	return Problem{File: file, Line: line, Col: col, Message: fmt.Sprintf(format, args...)}
}

// AtByte returns a problem in a binary file.
func AtByte(file string, offset int64, format string, args ...any) Problem {
	return Problem{File: file, Binary: true, Offset: offset, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns p with a hint.
func (p Problem) WithHint(format string, args ...any) Problem {
	p.Hint = fmt.Sprintf(format, args...)
	return p
}

// Place is "file:line:col", "file: byte n", or "file".
func (p Problem) Place() string {
	switch {
	case p.Binary:
		return fmt.Sprintf("%s: byte %d", p.File, p.Offset)
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return p.File + ":" + strconv.Itoa(p.Line)
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Col)
}

// Error is the message on one line, then the excerpt and the hint, if any.
func (p Problem) Error() string {
	var b strings.Builder
	if place := p.Place(); place != "" {
		b.WriteString(place + ": ")
	}
	b.WriteString(p.Message)
	if p.Source != "" && p.Line > 0 {
		b.WriteString("\n" + p.excerpt())
	}
	if p.Hint != "" {
		b.WriteString("\n    hint: " + p.Hint)
	}
	return b.String()
}

// excerptWidth is how much of a long source line is shown around the place: it
// keeps the excerpt on one line of an ordinary terminal.
const excerptWidth = 96

// excerpt shows the source line with a caret under the column.
func (p Problem) excerpt() string {
	line, col := p.Source, max(p.Col-1, 0)
	col = min(col, len(line))
	start := 0
	if col > excerptWidth*3/4 {
		start = col - excerptWidth/2
		for start < len(line) && !utf8.RuneStart(line[start]) {
			start++
		}
	}
	before, after := line[start:col], line[col:]
	if len(before)+len(after) > excerptWidth {
		cut := max(excerptWidth-len(before), 0)
		for cut < len(after) && !utf8.RuneStart(after[cut]) {
			cut++
		}
		after = after[:min(cut, len(after))]
	}
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, printable(before))
	number := fmt.Sprintf("%5d", p.Line)
	text := fmt.Sprintf("%s | %s", number, printable(before+after))
	if p.Col == 0 {
		return text
	}
	return fmt.Sprintf("%s\n%s | %s^", text, strings.Repeat(" ", len(number)), pad)
}

// printable replaces what could move a terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r == utf8.RuneError {
			return '·'
		}
		return r
	}, s)
}

// List is every problem that was found. It is an error if it is not empty.
type List []Problem

// Error is all problems, one after the other, in the order of their places.
func (l List) Error() string {
	texts := make([]string, len(l))
	for i, p := range l {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "\n")
}

// Add appends a problem.
func (l *List) Add(p Problem) { *l = append(*l, p) }

// Err returns nil for an empty list, else the list sorted by place.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	slices.SortStableFunc(l, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		if a.Col != b.Col {
			return a.Col - b.Col
		}
		return int(a.Offset - b.Offset)
	})
	return l
}
