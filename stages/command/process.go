package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
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
	group := procgroup.New(cmd, grace)
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	cmd.Stdout, cmd.Stderr = writer, writer
	var logged sync.WaitGroup
	logged.Go(func() { logOutput(env, reader) })

	runtime.LockOSThread() // see procgroup.New
	defer runtime.UnlockOSThread()
	stopped := false
	if err = cmd.Start(); err == nil {
		group.Watch()
		stopped, err = waitOrStop(cmd, env.Stop)
	}
	writer.Close()
	if group.End() && err == nil {
		env.Log.Warn("the program left others running; they were ended")
	}
	// Whoever left the group may still hold the pipe: do not wait for it.
	_ = reader.SetReadDeadline(time.Now().Add(grace))
	logged.Wait()
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
