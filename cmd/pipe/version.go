package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run is called by kong.
func (versionCommand) Run(a *app) error {
	fmt.Fprintf(a.stdout, "pipe %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// release is the version that a build was given: -ldflags "-X main.release=v1.2.3".
var release string

// version is that of a release, or else the module's, as the go command recorded it.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}
