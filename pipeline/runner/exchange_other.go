//go:build !linux

package runner

import "pipe/internal/faultfs"

func exchange(a, b string) error { return exchangeInTwo(a, b, faultfs.Rename) }
