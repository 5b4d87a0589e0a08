package runner

import (
	"errors"
	"os"
	"syscall"

	"pipe/stages"
)

// storeFault is a failure of the store that a stage's own code met: the machine's and
// not the stage's.
type storeFault struct{ err error }

func (e *storeFault) Error() string { return e.err.Error() }
func (e *storeFault) Unwrap() error { return e.err }

// faultOf makes an error, if it is one, a storeFault.
func faultOf(err error) error {
	if err == nil {
		return nil
	}
	return &storeFault{err}
}

// IsInfrastructure says whether an error is the machine's fault and not the
// stage's: a full or failing disk, a store that may not be written to, a missing
// device.
func IsInfrastructure(err error) bool {
	for _, target := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, stages.ErrDevice} {
		if errors.Is(err, target) {
			return true
		}
	}
	var fault *storeFault
	return errors.As(err, &fault)
}

func exitOf(err error) int {
	var own *stageFailure
	if IsInfrastructure(err) || errors.Is(err, os.ErrPermission) && !errors.As(err, &own) { // what pipe itself may not do
		return 5
	}
	return 1
}
