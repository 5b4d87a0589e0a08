//go:build !unix

package cache

import "os"

func readSmall(path string) ([]byte, error) { return os.ReadFile(path) }
