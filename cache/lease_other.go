//go:build !unix

package cache

import (
	"errors"

	"pipe/internal/faultfs"
)

// Without flock nothing can be held, and nothing is collected.

func lockShared(*faultfs.File) error { return errors.ErrUnsupported }
func lockAlone(*faultfs.File) error  { return errors.ErrUnsupported }
func unlockFile(*faultfs.File)       {}
