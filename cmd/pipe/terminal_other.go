//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package main

const canAnimate = false

func inForeground(int) bool                { return false }
func muteEcho(int) func()                  { return func() {} }
func watchStops(func(func())) (end func()) { return func() {} }
