//go:build !linux

package runner

import "os"

func exchange(a, b string) error { return exchangeInTwo(a, b, os.Rename) }
