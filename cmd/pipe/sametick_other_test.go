//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

func cmdSameTick(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("the time of a file's last change is not known here")
}
