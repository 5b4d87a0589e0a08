package main

import (
	"runtime"
	"runtime/debug"
)

// firstCollection is how large the heap may grow before the first garbage collection, in
// bytes. Most runs in which nothing is to be done, be it for 10,000 stages, end before it.
const firstCollection = 96 << 20

// delayCollection keeps the collector from working while there is little to collect: it
// begins at 4 MiB of its own accord, and took a fifth of a run in which nothing was to be
// done. After the first collection it goes about its work as always.
func delayCollection() {
	const beginning = 4 << 20 // runtime's heapMinimum at 100 %
	usual := debug.SetGCPercent(100 * firstCollection / beginning)
	if usual != 100 {
		debug.SetGCPercent(usual) // GOGC is set: somebody knows better
		return
	}
	sentinel := new([16]byte)
	runtime.SetFinalizer(sentinel, func(*[16]byte) { debug.SetGCPercent(usual) })
}
