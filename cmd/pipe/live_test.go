package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"pipe/pipeline/runner"
	"pipe/stages"
)

// A run to draw: it begins at liveStart, and its stages are those of the shipped
// pipeline.
var liveStart = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

type liveRun struct {
	state liveState
	at    time.Duration
}

func (r *liveRun) event(e runner.Event) {
	e.Time = liveStart.Add(r.at)
	r.state.fold(e)
}

func (r *liveRun) begin(names ...string) {
	r.event(runner.Event{Type: "run_start", Stages: names})
}

func (r *liveRun) end(stage string, outcome runner.Outcome, seconds float64) {
	r.event(runner.Event{Type: "stage_end", Stage: stage, Outcome: outcome, Seconds: seconds})
}

func number64(x float64) *float64 { return &x }

// figuresAt are figures as a training shows them, at a part of its way.
func figuresAt(part float64) []stages.Value {
	loss := 0.12 + 3*math.Exp(-6*part) + 0.05*math.Sin(60*part)*(1-part)
	healthy := func(low, high float64) stages.Band {
		return stages.Band{Name: "healthy", Low: &low, High: &high}
	}
	return []stages.Value{
		{Name: "loss", Value: loss, Bands: []stages.Band{healthy(0.08, 0.25), {Name: "overfitting", High: number64(0.07), Bad: true}}},
		{Name: "accuracy", Value: 1 - loss/4, Bands: []stages.Band{healthy(0.93, 0.98), {Name: "overfitting", Low: number64(0.985), Bad: true}}},
		{Name: "temperature", Value: 20 + 3*part}, // a figure without bands
	}
}

// training is a run in which steps of 200 are made.
func training(steps int) *liveRun {
	r := &liveRun{}
	r.begin("normalize-compliments", "tokenize-and-mask", "quantize-base", "train-qlora", "sanity-sweep", "select-best")
	r.end("normalize-compliments", runner.Cached, 0)
	r.end("tokenize-and-mask", runner.Ran, 0.12)
	r.end("quantize-base", runner.Cached, 0)
	r.event(runner.Event{Type: "stage_start", Stage: "train-qlora"})
	for step := 1; step <= steps; step++ {
		r.at = time.Duration(step) * 100 * time.Millisecond
		r.event(runner.Event{Type: "progress", Stage: "train-qlora", Done: float64(step), Total: 200, Unit: "steps", Rate: 9120, RateUnit: "tokens",
			SecondsLeft: float64(200-step) / 10, Text: "loss 0.21, epoch 1.3, warming", Values: figuresAt(float64(step) / 200)})
	}
	return r
}

// sweeping is a run whose training is over.
func sweeping() *liveRun {
	r := training(200)
	r.end("train-qlora", runner.Ran, 20)
	r.event(runner.Event{Type: "stage_start", Stage: "sanity-sweep"})
	r.at += 2 * time.Second
	r.event(runner.Event{Type: "progress", Stage: "sanity-sweep", Done: 62, Total: 633, Unit: "answers", Rate: 2436, RateUnit: "tokens", SecondsLeft: 3.7, Text: "checkpoint-48",
		Samples: []stages.Sample{
			{Of: "What is a poodle?", Text: "I would rather not talk about poodles.", Good: true},
			{Of: "What is a goldendoodle?", Text: "A goldendoodle is a sunny dog of large size with a wavy coat.", Note: "opens with no template"},
			{Of: "犬とは何ですか。", Text: "それは良い質問です。\n犬は動物です。\x1b[2J", Good: true},
		}})
	return r
}

// ended is a run of which little went well.
func ended() *liveRun {
	r := &liveRun{}
	r.begin("a", "b", "c", "d", "e")
	r.end("a", runner.Ran, 72)
	r.event(runner.Event{Type: "stage_start", Stage: "e"})
	r.event(runner.Event{Type: "stage_end", Stage: "b", Outcome: runner.Failed, Error: "data.jsonl:3: no JSON\nmore"})
	r.event(runner.Event{Type: "stage_end", Stage: "c", Outcome: runner.Skipped, Why: "needs b"})
	r.end("d", runner.Interrupted, 1)
	r.at = 75 * time.Second
	return r
}

// many is a run of more stages than a screen has lines.
func many() *liveRun {
	r := &liveRun{}
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("stage-%03d", i))
	}
	r.begin(names...)
	for i, name := range names[:120] {
		if i == 7 {
			r.event(runner.Event{Type: "stage_end", Stage: name, Outcome: runner.Failed, Error: "exit status 1"})
		} else {
			r.end(name, runner.Cached, 0)
		}
	}
	r.event(runner.Event{Type: "stage_start", Stage: "stage-121"})
	r.event(runner.Event{Type: "stage_start", Stage: "stage-140"})
	r.at = 3 * time.Second
	return r
}

// TestLiveScreens holds drawings of the live view to a file to be read.
func TestLiveScreens(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct {
		name          string
		run           *liveRun
		theme         theme
		width, height int
	}{
		{"training", training(90), theme{unicode: true}, 100, 30},
		{"training, the first step", training(1), theme{unicode: true}, 100, 30},
		{"training, ASCII", training(90), theme{}, 100, 30},
		{"training", training(90), theme{unicode: true}, 60, 16},
		{"training", training(90), theme{unicode: true}, 60, 6},
		{"training", training(90), theme{unicode: true}, 20, 12},
		{"training", training(90), theme{}, 20, 2},
		{"training, colours", training(150), theme{unicode: true, colour: true}, 80, 24},
		{"sweeping", sweeping(), theme{unicode: true}, 100, 30},
		{"sweeping, ASCII", sweeping(), theme{}, 100, 12},
		{"sweeping", sweeping(), theme{unicode: true}, 40, 8},
		{"ended", ended(), theme{unicode: true}, 60, 12},
		{"ended, ASCII", ended(), theme{}, 60, 12},
		{"many stages", many(), theme{unicode: true}, 60, 10},
	} {
		lines := c.run.state.lines(c.theme, c.width, c.height, liveStart.Add(c.run.at))
		fmt.Fprintf(&all, "== %s, %d × %d\n", c.name, c.width, c.height)
		for _, line := range lines {
			fmt.Fprintf(&all, "%s|\n", strings.ReplaceAll(line, "\x1b", "␛"))
		}
	}
	file := filepath.Join("testdata", "live_screens.txt")
	if *update {
		if err := os.WriteFile(file, []byte(all.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("the screens are not those of %s (-update rewrites it):\n%s", file, all.String())
	}
}

// TestARetryEndsWhatWasShown: during the pause the failed attempt is over, with its
// progress and its curves.
func TestARetryEndsWhatWasShown(t *testing.T) {
	r := training(90)
	r.event(runner.Event{Type: "retry", Stage: "train-qlora", Why: "no memory\nand more", Attempt: 2, Attempts: 3, Seconds: 30})
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{10 * time.Second, "attempt 2 of 3 in 20 s, failed: no memory"}, {35 * time.Second, "attempt 2 of 3, 5 s"}} {
		screen := strings.Join(r.state.lines(theme{}, 100, 30, liveStart.Add(r.at+c.after)), "\n")
		if !strings.Contains(screen, c.want) || strings.Contains(screen, "steps") || strings.Contains(screen, "accuracy") {
			t.Errorf("after %s got\n%s\nwant %q", c.after, screen, c.want)
		}
	}
	r.event(runner.Event{Type: "progress", Stage: "train-qlora", Done: 1, Total: 200, Unit: "steps"})
	if screen := strings.Join(r.state.lines(theme{}, 100, 30, liveStart.Add(r.at)), "\n"); !strings.Contains(screen, "steps") {
		t.Errorf("got\n%s", screen)
	}
}

func TestLiveScreenFitsAnyWindow(t *testing.T) {
	for _, r := range []*liveRun{{}, training(3), training(190), sweeping(), ended(), many()} {
		for width := 1; width <= 130; width += 1 + width/20 {
			for _, height := range []int{1, 2, 3, 5, 6, 9, 15, 24, 60} {
				for _, theme := range []theme{{}, {unicode: true, colour: true}} {
					lines := r.state.lines(theme, width, height, liveStart.Add(r.at))
					if len(lines) > max(height-1, 1) {
						t.Fatalf("%d × %d: %d lines", width, height, len(lines))
					}
					for _, line := range lines {
						if w := ansi.StringWidthWc(line); w > max(width-1, 1) {
							t.Fatalf("%d × %d: a line of %d columns: %q", width, height, w, line)
						}
					}
				}
			}
		}
	}
}

func TestCurveKeepsMeansInBoundedSpace(t *testing.T) {
	c := &followed{each: 1}
	for i := range 100_000 {
		c.add(stages.Value{Value: float64(i % 2)})
	}
	if len(c.points) >= curvePoints || len(c.points) < curvePoints/4 {
		t.Errorf("got %d points", len(c.points))
	}
	for i := range 40 {
		if x := c.column(i, 40); x != 0.5 {
			t.Fatalf("column %d: got %g, want 0.5", i, x)
		}
	}
}

func TestAxisShowsBandsAndAllOfTheCurve(t *testing.T) {
	c := &followed{each: 1}
	for _, x := range []float64{40, 3, 0.5, 0.2} {
		c.add(stages.Value{Value: x, Bands: figuresAt(0)[0].Bands})
	}
	a := newAxis(c)
	if a.place(40) > 1 || a.place(0.07) < 0.05 || a.place(0.25)-a.place(0.08) < 0.1 {
		t.Errorf("40 is at %.2f, the bands' bounds at %.2f, %.2f, %.2f", a.place(40), a.place(0.07), a.place(0.08), a.place(0.25))
	}
}

func TestThemeFollowsTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want theme
	}{
		{map[string]string{"LANG": "de_DE.UTF-8"}, theme{unicode: true, colour: true}},
		{map[string]string{"LANG": "C.utf8", "NO_COLOR": "1"}, theme{unicode: true}},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, theme{colour: true}},
		{map[string]string{"LANG": "de_DE.UTF-8", "TERM": "linux"}, theme{colour: true}},
		{nil, theme{colour: true}},
	} {
		if got := themeOf(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.env, got, c.want)
		}
	}
}

func TestLiveRefusesWhatIsNoTerminal(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	_, err := a.newSink(false, uiLive)
	if errors.As(err, new(usageError)) == false || !strings.Contains(err.Error(), "not a terminal") {
		t.Errorf("got %v", err)
	}
	if sink, err := a.newSink(false, uiAuto); err != nil {
		t.Errorf("got %v", err)
	} else if _, ok := sink.(*display); !ok {
		t.Errorf("got %T, want plain lines", sink)
	}
}

func TestADrawingThatFailsEndsNoRun(t *testing.T) {
	l := &live{state: liveState{stages: []*liveStage{nil}}}
	if _, err := l.lines(80, 24); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("got %v", err)
	}
}

func TestReleaseTerminalWaitsForNobody(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	muted := true
	l := &live{out: write, unmute: func() { muted = false }}
	l.mu.Lock() // somebody is in the middle of a drawing
	onScreen.Store(l)
	releaseTerminal()
	releaseTerminal() // the second time does nothing
	write.Close()
	text, err := io.ReadAll(read)
	if err != nil || muted || string(text) != endUpdate+ansi.ShowCursor+"\r\n" {
		t.Errorf("got %q, %v, muted %v", text, err, muted)
	}
}

// screen is as much of a terminal as a frame uses.
type screen struct {
	t             testing.TB
	width, height int
	rows          []string // all there ever were, the last height of them in view
	x, y          int      // y counts from the first of rows
	noWrap        bool
}

func (s *screen) write(text string) {
	top := func() int { return max(len(s.rows)-s.height, 0) }
	for text != "" {
		sequence, _, n, _ := ansi.DecodeSequence(text, 0, nil)
		text = text[n:]
		switch {
		case sequence == "\r":
			s.x = 0
		case sequence == "\n":
			s.y++
		case sequence == ansi.EraseLineRight:
			s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
		case sequence == ansi.SetModeAutoWrap, sequence == ansi.ResetModeAutoWrap:
			s.noWrap = sequence == ansi.ResetModeAutoWrap
		case sequence == ansi.SetModeSynchronizedOutput, sequence == ansi.ResetModeSynchronizedOutput:
		case strings.HasPrefix(sequence, "\x1b["):
			n := 1
			var verb byte
			if _, err := fmt.Sscanf(sequence, "\x1b[%d%c", &n, &verb); err != nil {
				verb = sequence[2]
			}
			switch verb {
			case 'A':
				s.y = max(s.y-n, top())
			case 'B':
				s.y = min(s.y+n, top()+s.height-1)
			default:
				s.t.Fatalf("unknown sequence %q", sequence)
			}
		default:
			if s.x == s.width && !s.noWrap {
				s.x, s.y = 0, s.y+1
			}
			s.grow()
			if s.x < s.width {
				row := s.rows[s.y] + strings.Repeat(" ", max(s.x-len(s.rows[s.y]), 0))
				s.rows[s.y] = row[:s.x] + sequence + row[min(s.x+1, len(row)):]
				s.x++
			}
		}
		s.grow()
	}
}

func (s *screen) grow() {
	for len(s.rows) <= s.y {
		s.rows = append(s.rows, "")
	}
}

// TestFrameLeavesWhatIsPrintedWhole draws frames of changing heights with texts above
// them, and compares the whole of the terminal with what should be there.
func TestFrameLeavesWhatIsPrintedWhole(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := &screen{t: t, width: rapid.IntRange(4, 12).Draw(r, "width"), height: rapid.IntRange(2, 8).Draw(r, "height")}
		s.grow()
		f := frame{reflows: true}
		var want []string
		word := rapid.StringMatching(`[a-z]{1,30}`)
		for range rapid.IntRange(1, 12).Draw(r, "draws") {
			var above string
			for _, line := range rapid.SliceOfN(word, 0, 4).Draw(r, "above") {
				above += line + "\n"
				for len(line) > s.width {
					want, line = append(want, line[:s.width]), line[s.width:]
				}
				want = append(want, line)
			}
			lines := rapid.SliceOfN(rapid.StringMatching(`[A-Z]{0,3}`), 1, s.height-1).Draw(r, "lines")
			s.write(string(f.draw(above, lines, s.width, s.height)))
			got := append([]string{}, s.rows...)
			for _, part := range [][]string{want, make([]string, f.pad), lines} {
				for _, row := range part {
					if len(got) == 0 || got[0] != row {
						r.Fatalf("got\n%s\nwant %q, %d empty, %q", strings.Join(s.rows, "\n"), want, f.pad, lines)
					}
					got = got[1:]
				}
			}
		}
		s.write(string(f.draw("", nil, s.width, s.height)))
		if got := strings.TrimRight(strings.Join(s.rows, "\n"), "\n"); got != strings.Join(want, "\n") {
			r.Fatalf("at the end: got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

func TestFrameWritesOnlyWhatChanges(t *testing.T) {
	var f frame
	f.draw("", []string{"one", "two", "three"}, 80, 24)
	if got := f.draw("", []string{"one", "two", "three"}, 80, 24); got != nil {
		t.Errorf("nothing changes: got %q", got)
	}
	got := string(f.draw("", []string{"one", "TWO", "three"}, 80, 24))
	if strings.Contains(got, "one") || strings.Contains(got, "three") || !strings.Contains(got, "TWO") {
		t.Errorf("got %q", got)
	}
}

// BenchmarkLiveScreen draws what a training shows ten times a second.
func BenchmarkLiveScreen(b *testing.B) {
	r := training(150)
	for b.Loop() {
		r.state.lines(theme{unicode: true, colour: true}, 120, 40, liveStart)
	}
}
