package drawing

import (
	"strings"
	"unicode"
)

// cells is how many places of a fixed-width font, or of a terminal, a text takes: two
// for what East Asian fonts draw wide and for pictures, none for marks on others.
func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// wide are the blocks of Unicode whose characters take two places (Unicode Standard
// Annex 11, W and F, by blocks).
var wide = [][2]rune{{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xa960, 0xa97f}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f000, 0x1faff}, {0x20000, 0x3fffd}}

func runeCells(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	for _, block := range wide {
		if r >= block[0] && r <= block[1] {
			return 2
		}
	}
	return 1
}

// cut shortens a text to so many cells, the last of which is then "…".
func cut(s string, width int) string {
	if cells(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += runeCells(r); n > width-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// plain replaces what would move a terminal's cursor, turn the direction of writing
// or is not allowed in XML.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), r == unicode.ReplacementChar, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfffe, r == 0xffff:
			return '·'
		}
		return r
	}, s)
}

// pad fills a text up to so many cells.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-cells(s), 0))
}
