//go:build unix && !linux

package procgroup

import "syscall"

// alive says whether a process group has a member.
func alive(group int) bool { return syscall.Kill(-group, 0) == nil }
