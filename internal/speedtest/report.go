package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"
)

func pointer(b *[128]byte) unsafe.Pointer { return unsafe.Pointer(b) }

// report is the Markdown that docs/speed.md holds.
type report struct {
	table, details strings.Builder
	head           strings.Builder
}

func (r *report) heading(b *bench) {
	var versions []string
	for _, c := range b.available(0, 0) {
		versions = append(versions, b.version(c))
	}
	fmt.Fprintf(&r.head, "%d processors (%s), %s/%s. %s. %d rounds, in each of which the contestants take turns. Load average at the start: %s. A small file takes %s to be synced to the disk.\n\n",
		runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH, strings.Join(versions, ", "), b.rounds, load(), show(syncTime(b.dir)))
}

// workload adds a workload's line and its details.
func (r *report) workload(w workload, rows []row) {
	if len(rows) == 0 {
		fmt.Fprintf(&r.table, "| %s | %s | this pipe does not read the file | | |\n", w.work, w.bar)
		return
	}
	// The quietest round is the one in which pipe was disturbed least.
	quiet := slices.IndexFunc(rows[0].runs, func(c cost) bool { return c.wall == slices.MinFunc(rows[0].runs, byWall).wall })
	var once []row
	for _, x := range rows {
		once = append(once, row{name: x.name, runs: x.runs[min(quiet, len(x.runs)-1):][:1]})
	}
	figure, met := w.verdict(w, rows)
	best, metOnce := w.verdict(w, once)
	verdict := "**not met**"
	switch {
	case met:
		verdict = "met"
	case metOnce:
		verdict = "met when undisturbed"
	}
	fmt.Fprintf(&r.table, "| %s | %s | %s | %s | %s |\n", w.work, w.bar, figure, best, verdict)
	fmt.Fprintf(&r.details, "\n### %s\n\n| | wall, median | from … to | CPU, median | pipe / it, wall (CPU) | memory | read | |\n|---|---|---|---|---|---|---|---|\n", w.work)
	for _, x := range rows {
		walls := make([]time.Duration, len(x.runs))
		for i, c := range x.runs {
			walls[i] = c.wall
		}
		ratio := ""
		if x.name != "pipe" {
			ratio = fmt.Sprintf("%.2f (%.2f)", ratioOf(rows[0], x, wallOf), ratioOf(rows[0], x, cpuOf))
		}
		fmt.Fprintf(&r.details, "| %s | %s | %s … %s | %s | %s | %s | %s | %s |\n", x.name, show(median(x.runs, wallOf)), show(slices.Min(walls)), show(slices.Max(walls)),
			show(median(x.runs, cpuOf)), ratio, size(median(x.runs, peakOf)), size(median(x.runs, readOf)), x.notes)
	}
}

func (r *report) String() string {
	return "# The runner's speed\n\n`make bench-runner` writes this page.\n\n" + r.head.String() +
		"| work | bar | median | quietest round | |\n|---|---|---|---|---|\n" + r.table.String() + "\n" + reading + r.details.String()
}

const reading = `Other work on the machine makes wall times longer and hardly moves CPU time (user and system, children included). "Quietest" is the round in which pipe was fastest.
Ratios are medians of ratios within one round. "read" is all that a process asked the system for, its own files and indexes included. "processes alone" starts
the stages' shells, as many at a time, and does nothing else. No memory is told where it was less than the benchmark's own.
`

// ratioOf is the median of a's cost over b's in the same round.
func ratioOf(a, b row, of func(c cost) time.Duration) float64 {
	var ratios []float64
	for i := range min(len(a.runs), len(b.runs)) {
		ratios = append(ratios, float64(of(a.runs[i]))/float64(max(of(b.runs[i]), 1)))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// Verdicts: pipe is the first row.

type verdict = func(w workload, rows []row) (string, bool)

func under(limit time.Duration) verdict {
	return func(_ workload, rows []row) (string, bool) {
		wall := median(rows[0].runs, wallOf)
		return show(wall), wall < limit
	}
}

func times(most float64, other string) verdict {
	return func(_ workload, rows []row) (string, bool) {
		for _, x := range rows {
			if x.name == other {
				ratio := ratioOf(rows[0], x, wallOf)
				return fmt.Sprintf("%.1f × %s", ratio, other), ratio <= most
			}
		}
		return other + " is not installed", false
	}
}

func smaller(limit int64) verdict {
	return func(_ workload, rows []row) (string, bool) {
		peak := median(rows[0].runs, peakOf)
		return size(peak), peak < limit
	}
}

// over is the time a job beyond what its process costs alone.
func over(limit time.Duration) verdict {
	return func(w workload, rows []row) (string, bool) {
		base := rows[len(rows)-1]
		var walls []time.Duration
		for i := range min(len(rows[0].runs), len(base.runs)) {
			walls = append(walls, rows[0].runs[i].wall-base.runs[i].wall)
		}
		slices.Sort(walls)
		each := walls[len(walls)/2] / 1000
		return show(each), each <= limit
	}
}

// rate is of bytes a second of a processor; several processors are to do more.
func rate(bytes, perSecond float64) verdict {
	return func(_ workload, rows []row) (string, bool) {
		cpu := bytes / median(rows[0].runs, cpuOf).Seconds()
		wall := bytes / median(rows[0].runs, wallOf).Seconds()
		return fmt.Sprintf("%.2f GB/s a core, %.2f GB/s in all", cpu/1e9, wall/1e9), cpu >= perSecond && (workers() == 1 || wall >= 1.5*perSecond)
	}
}

// unread says what was read beside the input, which is so large that it would show.
func unread(_ workload, rows []row) (string, bool) {
	read := median(rows[0].runs, readOf)
	return fmt.Sprintf("%s read of anything", size(read)), read > 0 && read < 1<<20
}

func both(a, b verdict) verdict {
	return func(w workload, rows []row) (string, bool) {
		x, first := a(w, rows)
		y, second := b(w, rows)
		return x + ", " + y, first && second
	}
}

func show(d time.Duration) string {
	switch {
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func size(n int64) string {
	switch {
	case n == 0:
		return ""
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
}

// processor is the model as Linux names it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), ":"))
		}
	}
	return runtime.GOARCH
}

func byWall(a, b cost) int { return int(a.wall - b.wall) }

// syncTime is how long a small file takes to reach the disk: what a cold stage waits for.
func syncTime(dir string) time.Duration {
	var runs []cost
	for range 30 {
		f, err := os.CreateTemp(dir, "sync-")
		if err != nil {
			return 0
		}
		f.WriteString("x")
		started := time.Now()
		f.Sync()
		runs = append(runs, cost{wall: time.Since(started)})
		f.Close()
		os.Remove(f.Name())
	}
	return median(runs, wallOf)
}

func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
