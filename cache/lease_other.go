//go:build !unix

package cache

import (
	"errors"
	"os"
)

// Without flock nothing can be held, and nothing is collected.

func lockShared(*os.File) error { return errors.ErrUnsupported }
func lockAlone(*os.File) error  { return errors.ErrUnsupported }
func unlockFile(*os.File)       {}
