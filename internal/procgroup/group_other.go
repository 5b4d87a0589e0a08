//go:build !unix

package procgroup

import (
	"os/exec"
	"time"
)

// Group is the program alone.
type Group struct{ program *exec.Cmd }

// New changes nothing.
func New(cmd *exec.Cmd, _ time.Duration) *Group { return &Group{cmd} }

// Watch does nothing.
func (*Group) Watch() {}

// End does nothing.
func (*Group) End() bool { return false }

// Kill ends the program.
func (g *Group) Kill() { _ = g.program.Process.Kill() }
