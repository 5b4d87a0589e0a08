package main

import (
	"fmt"
	"math"
	"strings"
)

// curve is a row of points to draw, rising by x.
type curve struct {
	x, y []float64
}

// at is the curve's height over columns from a to b: the mean of the points there, or
// else between its neighbours on a straight line. It is NaN where the curve is not.
func (c curve) at(a, b float64) float64 {
	sum, n, before, after := 0.0, 0, -1, -1
	for i, x := range c.x {
		switch {
		case x < a:
			before = i
		case x < b:
			sum += c.y[i]
			n++
		case after < 0:
			after = i
		}
	}
	switch {
	case n > 0:
		return sum / float64(n)
	case before < 0 || after < 0:
		return math.NaN()
	}
	share := ((a+b)/2 - c.x[before]) / (c.x[after] - c.x[before])
	return c.y[before] + share*(c.y[after]-c.y[before])
}

// plot draws curves over one another with axes.
type plot struct {
	width, height int     // of the field, in characters
	left, right   float64 // the range of x
	dots          bool
}

// curveMarks tell curves apart where there are several.
const curveMarks = "abcdefghijklmnopqrstuvwxyz"

// draw returns the lines of a plot. With dots, one curve is drawn in braille, of which
// a character holds 2 × 4 points; else in plain characters.
func (p plot) draw(curves []curve) []string {
	left, right := p.left, max(p.right, p.left+1)
	low, high := bounds(curves)
	across, down := 1, 1
	if p.dots {
		across, down = dotColumns, dotRows
	}
	columns, rows := p.width*across, p.height*down
	field := make([][]rune, p.height)
	for i := range field {
		field[i] = []rune(strings.Repeat(" ", p.width))
	}
	step := (right - left) / float64(columns)
	for k, c := range curves {
		for col := range columns {
			end := left + float64(col+1)*step
			if col == columns-1 {
				end = math.Inf(1)
			}
			y := c.at(left+float64(col)*step, end)
			if math.IsNaN(y) {
				continue
			}
			row := int(math.Round((high - y) / (high - low) * float64(rows-1)))
			cell := &field[row/down][col/across]
			switch {
			case p.dots:
				if *cell == ' ' {
					*cell = blankBraille
				}
				*cell |= brailleDots[row%dotRows][col%dotColumns]
			case len(curves) == 1:
				*cell = '*'
			case *cell == ' ':
				*cell = rune(curveMarks[k%len(curveMarks)])
			default:
				*cell = '#' // several
			}
		}
	}
	return boxed(field, left, right, low, high)
}

// A braille character, of Unicode's block 2800, has 2 by 4 dots; brailleDots holds the bit
// of each.
const blankBraille, dotColumns, dotRows = 0x2800, 2, 4

var brailleDots = [dotRows][dotColumns]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// bounds is the range of the curves' heights; a flat curve gets some room.
func bounds(curves []curve) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, y := range c.y {
			low, high = min(low, y), max(high, y)
		}
	}
	if low == high {
		room := max(math.Abs(low)/10, 1e-12)
		low, high = low-room, high+room
	}
	return low, high
}

// axisWidth is the room for the numbers at the left.
const axisWidth = 9

func boxed(field [][]rune, left, right, low, high float64) []string {
	var lines []string
	for i, row := range field {
		label := ""
		switch i {
		case 0:
			label = axisNumber(high)
		case len(field) - 1:
			label = axisNumber(low)
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%*s |%s", axisWidth, label, string(row)), " "))
	}
	from, to := axisNumber(left), axisNumber(right)
	width := len(field[0])
	lines = append(lines, fmt.Sprintf("%*s +%s", axisWidth, "", strings.Repeat("-", width)))
	gap := max(width-len(from)-len(to), 1)
	return append(lines, fmt.Sprintf("%*s  %s%s%s", axisWidth, "", from, strings.Repeat(" ", gap), to))
}

func axisNumber(v float64) string { return fmt.Sprintf("%.4g", v) }
