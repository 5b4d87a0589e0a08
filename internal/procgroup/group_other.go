//go:build !unix

package procgroup

import (
	"os/exec"
	"time"
)

// Group is the program alone.
type Group struct{}

// New changes nothing.
func New(*exec.Cmd, time.Duration) *Group { return &Group{} }

// Watch does nothing.
func (*Group) Watch() {}

// End does nothing.
func (*Group) End() bool { return false }
