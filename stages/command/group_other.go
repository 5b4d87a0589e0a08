//go:build !unix

package command

import (
	"context"
	"os/exec"
)

// group is the program alone, where there are no process groups.
type group struct{}

func newGroup(*exec.Cmd) *group         { return &group{} }
func (*group) watch()                   {}
func (*group) end(context.Context) bool { return false }
