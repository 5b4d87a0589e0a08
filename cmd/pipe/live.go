package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"pipe/internal/logging"
	"pipe/pipeline/runner"
)

// The values of --ui.
const (
	uiAuto  = "auto"
	uiLive  = "live"
	uiPlain = "plain"
)

// newSink returns where a run's events go: lines for machines, a live view, or lines for
// people.
func (a *app) newSink(json bool, ui string) (runner.Sink, error) {
	unfit := cannotAnimate(a.stdout)
	switch {
	case ui == uiLive && json:
		return nil, usageError{fmt.Errorf("--ui live and --json: standard output is for one of them")}
	case ui == uiLive && unfit != "":
		return nil, usageError{fmt.Errorf("--ui live: %s (--ui auto shows plain lines then)", unfit)}
	case json:
		return &jsonSink{out: a.stdout, log: logging.NewJSON(a.stderr)}, nil
	case ui == uiLive, ui == uiAuto && unfit == "" && os.Getenv("NO_COLOR") == "" && inForeground(int(a.stdout.(*os.File).Fd())):
		return newLive(a.stdout.(*os.File), a.stderr), nil
	}
	return newDisplay(a.stdout, a.stderr), nil
}

// cannotAnimate says why lines that were written to out cannot be written over, or "".
func cannotAnimate(out io.Writer) string {
	f, ok := out.(*os.File)
	switch {
	case !canAnimate:
		return "not on this system"
	case !ok || !term.IsTerminal(int(f.Fd())):
		return "standard output is not a terminal"
	case os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "":
		return fmt.Sprintf("TERM=%s: the terminal's cursor does not move", os.Getenv("TERM"))
	}
	return ""
}

// themeOf chooses how to draw by the environment.
func themeOf(env func(string) string) theme {
	locale := env("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = env(name)
		}
	}
	charset := strings.ReplaceAll(strings.ToLower(locale), "-", "")
	return theme{colour: env("NO_COLOR") == "", unicode: strings.Contains(charset, "utf8") && env("TERM") != "linux"}
}

// reflows says whether a terminal breaks lines anew when it gets narrower. Most do.
func reflows(env func(string) string) bool {
	screen := strings.HasPrefix(env("TERM"), "screen") && env("TMUX") == ""
	return env("TERM") != "linux" && env("XTERM_VERSION") == "" && !screen
}

// frameTime is how often the live view is drawn.
const frameTime = 100 * time.Millisecond

// live shows a run in a terminal: the lines of display, and below them a frame with what
// goes on. The frame is there from the first stage that runs to the end of the run.
// Nothing is read from the terminal and its keys make signals as ever.
type live struct {
	out   *os.File
	theme theme
	gone  atomic.Bool // the process is about to end: nothing more is drawn

	mu      sync.Mutex // guards what follows, and the terminal
	display *display
	printed bytes.Buffer // by display
	state   liveState
	frame   frame
	entered bool   // the cursor is hidden, echo is off
	unmute  func() // not nil while entered
	broken  bool   // the frame could not be drawn: there are plain lines

	stop, stopped chan struct{} // not nil while the frame is drawn
}

func newLive(out *os.File, errors io.Writer) *live {
	l := &live{out: out, theme: themeOf(os.Getenv), frame: frame{reflows: reflows(os.Getenv)}}
	l.display = newDisplay(&l.printed, errors)
	l.display.notices = &l.printed // above the frame
	return l
}

// Event implements runner.Sink.
func (l *live) Event(e runner.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.fold(e)
	if e.Type == "progress" && !l.broken {
		return // the frame will show it
	}
	l.display.Event(e)
	if e.Type == "stage_start" && l.stop == nil {
		l.stop, l.stopped = make(chan struct{}), make(chan struct{})
		go l.animate(l.stop, l.stopped)
	}
	l.draw()
}

// Summary implements runner.Sink. What is written to the terminal after it stands below
// what the run printed.
func (l *live) Summary(s runner.Summary) {
	if l.stop != nil {
		close(l.stop)
		<-l.stopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave()
	l.stop = nil
	l.draw()
	l.display.Summary(s)
}

// animate draws the frame until stop is closed.
func (l *live) animate(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	defer watchStops(func(proceed func()) {
		l.mu.Lock()
		defer l.mu.Unlock() // nothing is drawn in between
		l.leave()
		proceed()
	})()
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			l.mu.Lock()
			l.draw()
			l.mu.Unlock()
		}
	}
}

// draw brings the terminal up to date. A job in the background prints, but draws
// nothing: the shell has the terminal.
func (l *live) draw() {
	if l.gone.Load() {
		return
	}
	width, height, err := term.GetSize(int(l.out.Fd()))
	if l.stop == nil || l.broken || err != nil || width <= 0 || height <= 0 || !inForeground(int(l.out.Fd())) {
		l.entered = false
		l.frame.forget()
		onScreen.CompareAndSwap(l, nil)
		_, _ = l.printed.WriteTo(l.out)
		return
	}
	if !l.entered {
		l.enter()
	}
	lines, err := l.lines(width, height)
	if err != nil {
		l.leave()
		l.broken = true
		fmt.Fprintf(l.display.errors, "pipe: the live view failed, plain lines follow: %v\n", err)
		return
	}
	_, _ = l.out.Write(l.frame.draw(l.printed.String(), lines, width, height))
	l.printed.Reset()
}

// lines draws the state. A mistake in a drawing must not end a run: a panic is an error.
func (l *live) lines(width, height int) (lines []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return l.state.lines(l.theme, width, height, time.Now()), nil
}

// enter takes the terminal.
func (l *live) enter() {
	l.entered, l.unmute = true, muteEcho(int(l.out.Fd()))
	onScreen.Store(l)
	_, _ = io.WriteString(l.out, ansi.HideCursor)
}

// leave takes the frame off the screen and gives the terminal back.
func (l *live) leave() {
	if !l.entered {
		return
	}
	width, height, err := term.GetSize(int(l.out.Fd()))
	if err == nil && width > 0 {
		_, _ = l.out.Write(l.frame.draw("", nil, width, height))
	}
	_, _ = io.WriteString(l.out, ansi.ShowCursor)
	l.unmute()
	l.entered = false
	onScreen.CompareAndSwap(l, nil)
}

// onScreen is the view that has the terminal, if one does, for those who end the
// process without it.
var onScreen atomic.Pointer[live]

// patience is how long a terminal that takes no output may hold up the end of the
// process.
const patience = 200 * time.Millisecond

// releaseTerminal gives the terminal back. The frame stays and the cursor goes below it.
// It waits for no lock: whoever has it may be in the middle of anything.
func releaseTerminal() {
	l := onScreen.Swap(nil)
	if l == nil {
		return
	}
	l.gone.Store(true)
	l.unmute()
	written := make(chan struct{})
	go func() {
		_, _ = io.WriteString(l.out, endUpdate+ansi.ShowCursor+"\r\n")
		close(written)
	}()
	select {
	case <-written:
	case <-time.After(patience):
	}
}
