//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// canAnimate says whether lines on this system's terminals can be written over.
const canAnimate = true

// inForeground says whether the process may use the terminal now: a job that the shell
// has put behind may not.
func inForeground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// muteEcho keeps what is typed from being shown, and returns how to undo that. Signals
// are made from keys as ever.
func muteEcho(fd int) (undo func()) {
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return func() {}
	}
	mute := *before
	mute.Lflag &^= unix.ECHO
	if unix.IoctlSetTermios(fd, setTermios, &mute) != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }
}

// watchStops calls before each time the process is to be stopped from the keyboard, or is
// to die with a dump of what it does. before lets that happen by calling proceed, which
// returns when the process goes on. end ends the watch.
func watchStops(before func(proceed func())) (end func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGTSTP, syscall.SIGQUIT)
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				if s == syscall.SIGQUIT {
					before(die)
				} else {
					before(stop)
				}
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// stop stops the process, as the shell expects, until the shell lets it go on. The signal
// is not SIGTSTP: once that was watched, Go's runtime swallows it.
func stop() {
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
	<-resumed // another thread may be the one that is stopped first
}

// die has Go's runtime dump all goroutines and end the process.
func die() {
	signal.Reset(syscall.SIGQUIT)
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGQUIT)
	time.Sleep(time.Second) // another thread may be the one that is told
}
