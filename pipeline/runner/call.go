package runner

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"pipe/internal/faultfs"
	"pipe/stages"
)

// call runs the kind's code. A panic in it fails the stage, not the run.
func (a *attempt) call(ctx context.Context, inputs map[string]stages.Input, outputs map[string]string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	return timedOut(ctx, a.step.Kind.Run(ctx, a.env(), a.step.Params, inputs, outputs))
}

func (a *attempt) env() *stages.Env {
	env := &stages.Env{
		Out: filepath.Join(a.dir, "out"), Scratch: filepath.Join(a.dir, "scratch"),
		Device: a.runner.Device, Workers: a.workers, Now: a.runner.Now,
		Vars: a.world.vars, Mask: a.runner.maskWriter(), Kill: a.kill,
		Log:      &a.log,
		Progress: a.progress,
		Attach:   a.attach, Reproduce: a.kept.reproduce,
		Withhold: func(reason string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.record.Withheld = a.runner.mask().Text(reason)
		},
		Note: func(name, value string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			value = a.runner.mask().Text(value)
			switch name {
			case "tier":
				a.record.Made.Tier = value
			case "stopped_by":
				a.record.Made.StoppedBy = value
			}
		},
	}
	if a.state != nil {
		env.State, env.Stop = a.state, a.runner.Stop
	}
	return env
}

// progressPause is how often a stage's progress is passed on.
const progressPause = 100 * time.Millisecond

func (a *attempt) progress(p stages.Progress) {
	a.mu.Lock()
	now := a.runner.Now()
	due := now.Sub(a.shown) >= progressPause || p.Total > 0 && p.Done >= p.Total
	if due {
		a.shown = now
	}
	a.mu.Unlock()
	if due {
		a.runner.emit(ProgressEvent(a.step.Name, p))
	}
}

// attachment is a file that a stage adds to its record.
type attachment struct {
	io.WriteCloser // through the mask
	name, path     string

	once sync.Once
	err  error
}

// Close hands on what the mask holds back. It may be called again.
func (f *attachment) Close() error {
	f.once.Do(func() { f.err = f.WriteCloser.Close() })
	return f.err
}

func (a *attempt) attach(name string) (io.WriteCloser, error) {
	if !stages.ValidAttachmentName(name) {
		return nil, fmt.Errorf("internal error: attachment %q: a name is made of lower-case letters, digits, dots and dashes", name)
	}
	dir := filepath.Join(a.dir, "attach") // most stages attach nothing
	if err := faultfs.MkdirAll(dir, 0o777); err != nil {
		return nil, faultOf(err)
	}
	path := filepath.Join(dir, name)
	f, err := faultfs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, faultOf(err)
	}
	file := &attachment{WriteCloser: a.runner.maskFile(f), name: name, path: path}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attached = append(a.attached, file)
	return file, nil
}
