package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pipe/internal/problem"
	"pipe/pipeline/runner"
)

const (
	exitFailed         = 1
	exitUsage          = 2
	exitGate           = 3
	exitInfrastructure = 5
	exitBusy           = 75
	exitInterrupted    = 130
)

const exitCodes = `Exit codes: 0 done; 1 a stage failed, or its data is wrong, or what was looked for was found (run --check-cache: other bytes; verify: damage that is not repaired; check --strict: a warning; fmt --check: another form); 2 usage or pipeline file; 3 a gate was not passed or what was made is worse than what is published (once), or (status --exit-code) something is stale; 5 infrastructure (disk, device); 75 another run is at it; 130 interrupted.`

// usageError is a mistake in the command line or the pipeline file.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// infrastructureError is the machine's fault.
type infrastructureError struct{ error }

func (e infrastructureError) Unwrap() error { return e.error }

// busyError is a run that gives way to another one.
type busyError struct{ error }

func (e busyError) Unwrap() error { return e.error }

// exitStatus is an exit code without a message: what there is to say was said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitRequest is kong's wish to end the program, after help for example.
type exitRequest int

// finish runs a command, prints its error and returns the exit code. It is the one
// place where errors become codes.
func (a *app) finish(run func() error) (code int) {
	defer func() {
		if r := recover(); r != nil {
			request, ok := r.(exitRequest)
			if !ok {
				panic(r)
			}
			code = int(request)
		}
	}()
	err := run()
	if err == nil {
		if err = lost(a.stdout); err == nil {
			return 0
		}
		err = infrastructureError{err}
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	a.complain(err)
	return codeOf(err)
}

// complain prints an error on standard error.
func (a *app) complain(err error) {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.stderr, "pipe: interrupted")
		return
	}
	var list problem.List
	if errors.As(err, &list) {
		fmt.Fprintln(a.stderr, list)
		if len(list) > 1 {
			fmt.Fprintf(a.stderr, "pipe: %d problems\n", len(list))
		}
		return
	}
	fmt.Fprintf(a.stderr, "pipe: %s\n", strings.TrimSpace(err.Error()))
}

func codeOf(err error) int {
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	var usage usageError
	var infrastructure infrastructureError
	var busy busyError
	switch {
	case errors.As(err, &busy):
		return exitBusy
	case errors.As(err, &infrastructure), runner.IsInfrastructure(err):
		return exitInfrastructure
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailed
}
