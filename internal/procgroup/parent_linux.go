package procgroup

import "syscall"

// endWithParent has the kernel kill the program when pipe dies, however it dies.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
