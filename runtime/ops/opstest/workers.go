//go:build !race

package opstest

// workers are the numbers of workers that must not matter.
var workers = []int{1, 2, 3, 5}

const raceDetector = false
