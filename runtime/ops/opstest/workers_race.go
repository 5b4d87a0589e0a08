//go:build race

package opstest

// workers are fewer under the race detector, which makes everything 20 times
// slower and needs only two that race.
var workers = []int{1, 3}

const raceDetector = true
