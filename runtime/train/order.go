package train

import (
	"math/bits"

	"pipe/runtime/lora"
)

// Purposes of random numbers, in ASCII; see the package comment.
const (
	forOrder   = 0x6f72646572
	forDropout = 0x64726f70
)

// key names the stream of random numbers for a purpose and a number n.
func key(seed, purpose uint64, n int) uint64 {
	return lora.Mix(lora.Mix(seed, purpose), uint64(n))
}

// order returns the samples 0 up to n-1 in the order of an epoch, counted from 0.
func order(n int, seed uint64, epoch int) []int {
	samples := make([]int, n)
	for i := range samples {
		samples[i] = i
	}
	k := key(seed, forOrder, epoch)
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(lora.Mix(k, uint64(i)), uint64(i+1))
		samples[i], samples[j] = samples[j], samples[i]
	}
	return samples
}

// course says which samples each step takes.
type course struct {
	samples []Sample
	batch   int // samples a step
	seed    uint64

	epoch  int // of current, -1 if there is none
	epochs []int
}

func newCourse(samples []Sample, batch int, seed uint64) *course {
	return &course{samples: samples, batch: batch, seed: seed, epoch: -1}
}

// stepsPerEpoch counts the incomplete last step as one.
func (c *course) stepsPerEpoch() int { return StepsPerEpoch(len(c.samples), c.batch) }

// at returns the samples of a step, counted from 0.
func (c *course) at(step int) []int {
	per := c.stepsPerEpoch()
	if epoch := step / per; epoch != c.epoch {
		c.epoch, c.epochs = epoch, order(len(c.samples), c.seed, epoch)
	}
	from := step % per * c.batch
	return c.epochs[from:min(from+c.batch, len(c.epochs))]
}

// tokens returns the number of tokens in the first steps steps.
func (c *course) tokens(steps int) int {
	per, all := c.stepsPerEpoch(), 0
	for _, s := range c.samples {
		all += len(s.IDs)
	}
	total := steps / per * all
	for step := steps / per * per; step < steps; step++ {
		for _, i := range c.at(step) {
			total += len(c.samples[i].IDs)
		}
	}
	return total
}

// microBatches cuts a step's samples, in their order, into runs of at most limit
// tokens; a longer sample is a run of its own.
func (c *course) microBatches(step []int, limit int) [][]int {
	var runs [][]int
	from, tokens := 0, 0
	for i, sample := range step {
		n := len(c.samples[sample].IDs)
		if i > from && tokens+n > limit {
			runs = append(runs, step[from:i])
			from, tokens = i, 0
		}
		tokens += n
	}
	return append(runs, step[from:])
}
