//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"os"
	"os/signal"
	"syscall"

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

// watchStops calls leave each time the process is to be stopped from the keyboard, or is
// to die with a dump of what it does, and then lets that happen. end ends the watch.
func watchStops(leave func()) (end func()) {
	stops, resumed, done := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(stops, syscall.SIGTSTP, syscall.SIGQUIT)
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-stops:
				leave()
				signal.Notify(resumed, syscall.SIGCONT)
				signal.Reset(s)
				_ = syscall.Kill(syscall.Getpid(), s.(syscall.Signal))
				<-resumed
				signal.Stop(resumed)
				signal.Notify(stops, s)
			}
		}
	}()
	return func() {
		signal.Stop(stops)
		close(done)
	}
}
