package main

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdSameTick makes an index of digests what it would be if a file had been edited within
// the tick of the file system's clock in which it was hashed: sametick INDEX FILE. The
// index is to have entries of that file only.
func cmdSameTick(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	at, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		ts.Fatalf("no times of change")
	}
	changed := at.Ctim.Nano()
	// The form is in docs/cache-format.md.
	const head, entry = 12 + 36 + 8, 6*8 + sha256.Size
	b := []byte(ts.ReadFile(args[0]))
	for e := b[head : len(b)-sha256.Size]; len(e) > 0; e = e[entry:] {
		for i, v := range []int64{int64(at.Dev), int64(at.Ino), info.Size(), info.ModTime().UnixNano(), changed, changed + 1e6} {
			binary.LittleEndian.PutUint64(e[8*i:], uint64(v))
		}
	}
	sum := sha256.Sum256(b[:len(b)-sha256.Size])
	copy(b[len(b)-sha256.Size:], sum[:])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}
