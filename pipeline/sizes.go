package pipeline

import (
	"strconv"
	"strings"
)

var units = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// parseSize reads a number of bytes with a unit; ok is false if it is none.
func parseSize(text string) (size int64, ok bool) {
	if text == "0" {
		return 0, true
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v >= 0) || v*u.factor > 1<<60 {
			break
		}
		return int64(v * u.factor), true
	}
	return 0, false
}
