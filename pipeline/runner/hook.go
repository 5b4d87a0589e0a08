package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"pipe/internal/procgroup"
	"pipe/pipeline"
)

// hookTime is how long a hook may take: long enough for a mail or a request to a
// slow server, short enough for a machine that goes down.
const hookTime = 30 * time.Second

// hookGrace is how long a hook has between the request to end and its death.
const hookGrace = 2 * time.Second

// hookInput is what a hook reads: the run's last event, and whose it is.
type hookInput struct {
	Summary
	Pipeline string `json:"pipeline"`
	Profile  string `json:"profile"`
	File     string `json:"file"`
	Dir      string `json:"dir"`
}

// hookFor chooses the hook for an exit code. Nobody is told of a mistake on the command
// line, of a run that gave way to another, or of one that was stopped: whoever
// started or stopped it knows.
func hookFor(h pipeline.Hooks, exit int) (name string, argv []string) {
	switch exit {
	case 0:
		return "on_success", h.OnSuccess
	case 1, 3, 5:
		return "on_failure", h.OnFailure
	}
	return "", nil
}

// RunHook tells the plan's on_success or on_failure of a run's end. The error says
// what went wrong with the hook; it is no failure of the run. ctx or Stop ends the hook
// early.
func (r *Runner) RunHook(ctx context.Context, sum Summary) error {
	return r.runHook(ctx, sum, hookTime)
}

func (r *Runner) runHook(ctx context.Context, sum Summary, limit time.Duration) error {
	name, argv := hookFor(r.Plan.Hooks, sum.Exit)
	if len(argv) == 0 {
		return nil
	}
	input, err := json.Marshal(hookInput{Summary: r.maskSummary(sum), Pipeline: r.Plan.Name, Profile: r.Plan.Profile, File: r.Plan.File, Dir: r.Dir})
	if err != nil {
		panic("internal error: summary: " + err.Error())
	}
	ctx, end := r.untilStop(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.WaitDelay = filepath.Dir(r.Plan.File), hookGrace
	cmd.Stdin = bytes.NewReader(append(input, '\n'))
	var said tail
	masked := r.mask().Writer(&said)
	cmd.Stdout, cmd.Stderr = masked, masked
	err = runInGroup(cmd)
	_ = masked.Close() // a tail takes everything
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() == context.DeadlineExceeded:
		err = fmt.Errorf("did not end within %s", limit)
	case ctx.Err() != nil:
		err = errors.New("it was stopped")
	case errors.Is(err, exec.ErrWaitDelay): // it did its part; what it left has had its time
		return nil
	case errors.As(err, &exit):
		err = fmt.Errorf("%s%s", exit, said.lastLine())
	case errors.Is(err, exec.ErrNotFound):
		err = errors.New("there is no such program on PATH")
	}
	return fmt.Errorf("%s: %s: %w", name, r.mask().Text(argv[0]), err)
}

// runInGroup runs a program to its end, and ends what it leaves running: at once, or
// when it has held the program's output for hookGrace.
func runInGroup(cmd *exec.Cmd) error {
	group := procgroup.New(cmd, hookGrace)
	runtime.LockOSThread() // see procgroup.New
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if err == nil {
		group.Watch()
		err = cmd.Wait()
	}
	group.End()
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

const keptTail = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if len(t.kept) > keptTail {
		t.kept = bytes.Clone(t.kept[len(t.kept)-keptTail:])
	}
	return len(b), nil
}

// lastLine is ": " and the last line that says something, or nothing.
func (t *tail) lastLine() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "\uFFFD"))
	if text == "" {
		return ""
	}
	return ": " + text[strings.LastIndexByte(text, '\n')+1:]
}
