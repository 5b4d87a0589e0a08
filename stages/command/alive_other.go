//go:build unix && !linux

package command

import "syscall"

// alive says whether a process group has a member.
func alive(group int) bool { return syscall.Kill(-group, 0) == nil }
