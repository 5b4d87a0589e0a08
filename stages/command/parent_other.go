//go:build unix && !linux

package command

import "syscall"

func endWithParent(*syscall.SysProcAttr) {}
