//go:build !unix

package faultfs

import "os"

func readSmall(path string) ([]byte, error) { return os.ReadFile(path) }
