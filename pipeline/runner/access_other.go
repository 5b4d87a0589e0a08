//go:build !unix

package runner

// canWrite cannot be told here without trying.
func canWrite(string) bool { return true }
