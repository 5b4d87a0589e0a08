//go:build !unix

package command

import "os/exec"

func ownGroup(cmd *exec.Cmd)  { cmd.Cancel = func() error { return cmd.Process.Kill() } }
func endGroup(*exec.Cmd) bool { return false }
