// Package linediff shows in which lines two texts differ.
package linediff

import (
	"fmt"
	"strings"
)

// contextLines is how many equal lines a diff shows around a difference.
const contextLines = 3

// maxDiffCells bounds the table of the comparison: two files of 2,000 lines.
// Larger ones are shown as wholly removed and added between their common ends.
const maxDiffCells = 4 << 20

// Diff returns the lines in which want and got differ, marked - and +, with the
// line number in want and a few equal lines around them. It is empty if they
// are equal.
func Diff(want, got string) string {
	if want == got {
		return ""
	}
	edits := diffLines(strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n"))
	var b strings.Builder
	last := -1 // the last edit printed
	for i, e := range edits {
		if !nearChange(edits, i) {
			continue
		}
		if last != i-1 {
			fmt.Fprintf(&b, "@@ line %d @@\n", e.line)
		}
		last = i
		text, newline := strings.CutSuffix(e.text, "\n")
		fmt.Fprintf(&b, "%c %s\n", e.mark, text)
		if !newline && text != "" {
			b.WriteString("\\ no newline at the end\n")
		}
	}
	return b.String()
}

// edit is one line of a diff: ' ' in both, '-' in want alone, '+' in got alone.
type edit struct {
	mark byte
	line int // in want, from 1
	text string
}

func nearChange(edits []edit, i int) bool {
	for j := max(i-contextLines, 0); j <= min(i+contextLines, len(edits)-1); j++ {
		if edits[j].mark != ' ' {
			return true
		}
	}
	return false
}

// diffLines compares by the longest common subsequence of what is left between
// the common beginning and the common end.
func diffLines(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var edits []edit
	for i, text := range a[:head] {
		edits = append(edits, edit{' ', i + 1, text})
	}
	edits = append(edits, diffMiddle(a[head:len(a)-tail], b[head:len(b)-tail], head+1)...)
	for i, text := range a[len(a)-tail:] {
		edits = append(edits, edit{' ', len(a) - tail + i + 1, text})
	}
	return edits
}

// diffMiddle compares a, whose first line has the number line, with b.
func diffMiddle(a, b []string, line int) []edit {
	width := len(b) + 1
	var common []int32 // common[i*width+j]: of a[i:] and b[j:]
	if (len(a)+1)*width <= maxDiffCells {
		common = make([]int32, (len(a)+1)*width)
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	var edits []edit
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case common != nil && i < len(a) && j < len(b) && a[i] == b[j]:
			edits = append(edits, edit{' ', line + i, a[i]})
			i, j = i+1, j+1
		case i < len(a) && (common == nil || j == len(b) || common[(i+1)*width+j] >= common[i*width+j+1]):
			edits = append(edits, edit{'-', line + i, a[i]})
			i++
		default:
			edits = append(edits, edit{'+', line + i, b[j]})
			j++
		}
	}
	return edits
}
