package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"pipe/internal/procgroup"
	"pipe/internal/program"
	"pipe/stages"
)

// grace is how long a program has between the request to end and its death.
const grace = 5 * time.Second

// inherited are the variables of pipe's own environment that a program sees.
func inherited(name string) bool {
	return name == "PATH" || name == "HOME" || name == "LANG" || name == "LANGUAGE" || strings.HasPrefix(name, "LC_")
}

// environment is all that the program's environment holds.
func environment(env *stages.Env, p Params, in map[string]stages.Input, out map[string]string) []string {
	var vars []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); inherited(name) {
			vars = append(vars, v)
		}
	}
	vars = append(vars, "TMPDIR="+env.Scratch)
	for name, value := range env.Vars {
		if !inherited(name) {
			vars = append(vars, name+"="+value)
		}
	}
	for port, input := range in {
		vars = append(vars, Variable("IN", port)+"="+input.Path)
	}
	for port, path := range out {
		vars = append(vars, Variable("OUT", port)+"="+path)
	}
	for name, value := range p.Values {
		vars = append(vars, Variable("PARAM", name)+"="+value.Text)
	}
	return vars
}

// reproduce tells how to start the program by hand.
func reproduce(env *stages.Env, argv, vars []string) {
	if env.Reproduce != nil {
		env.Reproduce(env.Scratch, slices.Sorted(slices.Values(vars)), argv)
	}
}

// execute runs a program in the scratch folder, its output line by line in the
// log, and waits for it. The program and what it started end with ctx, and with pipe.
func execute(ctx context.Context, env *stages.Env, argv, vars []string) error {
	path := argv[0]
	if !strings.Contains(path, "/") {
		var err error
		if path, err = program.Find(path, os.Getenv("PATH")); err != nil {
			return fmt.Errorf("%s: there is no such program on PATH", argv[0])
		}
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Args[0] = argv[0] // some programs go by what they are called
	cmd.Dir, cmd.Env = env.Scratch, vars
	cmd.WaitDelay = grace
	reproduce(env, argv, vars)
	said, err := listen(cmd, env)
	if err != nil {
		return err
	}
	group := procgroup.New(cmd, grace)
	runtime.LockOSThread() // see procgroup.New
	defer runtime.UnlockOSThread()
	stopped := false
	if err = cmd.Start(); err == nil {
		group.Watch()
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-env.Kill:
				group.Kill()
			case <-ended:
			}
		}()
		stopped, err = waitOrStop(cmd, env.Stop)
	}
	left := group.End() && err == nil
	said.close()
	if left {
		env.Log.Warn("the program left others running; they were ended")
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case stopped:
		return stages.ErrStopped
	case errors.As(err, &exit):
		return fmt.Errorf("%s: %s", argv[0], exit)
	}
	return err
}

// hearing reads what a program says.
type hearing struct {
	readers, writers []*os.File
	logged           sync.WaitGroup
}

// listen gives a program pipes to speak into, and logs what it says: through one pipe,
// so that the order of lines is kept; where there are secrets, through one for each of
// its two streams, so that a secret is found that comes in pieces with lines of the
// other stream between them.
func listen(cmd *exec.Cmd, env *stages.Env) (*hearing, error) {
	h := &hearing{}
	streams := []*io.Writer{&cmd.Stdout, &cmd.Stderr}
	for i, stream := range streams {
		if i > 0 && env.Mask == nil {
			*stream = cmd.Stdout
			break
		}
		reader, writer, err := os.Pipe()
		if err != nil {
			h.close()
			return nil, err
		}
		h.readers, h.writers = append(h.readers, reader), append(h.writers, writer)
		*stream = writer
		h.logged.Go(func() { logOutput(env, reader) })
	}
	return h, nil
}

// close ends the hearing when the program has ended. Whoever left its group may still
// hold a pipe: that is not waited for long.
func (h *hearing) close() {
	for _, w := range h.writers {
		w.Close()
	}
	for _, r := range h.readers {
		_ = r.SetReadDeadline(time.Now().Add(grace))
	}
	h.logged.Wait()
	for _, r := range h.readers {
		r.Close()
	}
}

// waitOrStop waits for a program, which is asked to end when stop is closed: it may
// save its state first, and take the time that this takes.
func waitOrStop(cmd *exec.Cmd, stop <-chan struct{}) (stopped bool, err error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return false, err
	case <-stop:
	}
	_ = cmd.Cancel() // it may have ended by itself
	return true, <-ended
}
