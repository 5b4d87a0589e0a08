package nf4

import (
	"fmt"
	"math"
	"sync"

	"pipe/runtime/ops"
)

// DefaultBlockSize is bitsandbytes' default, and the size of the runs of
// ops.Weight.
const DefaultBlockSize = 64

// ValidBlockSize says whether bitsandbytes can read blocks of n weights: a power
// of two from 32 to 4096.
func ValidBlockSize(n int) bool {
	return n >= 32 && n <= 4096 && n&(n-1) == 0
}

// Blocks returns the number of blocks of n weights: ⌈n/blockSize⌉.
func Blocks(n, blockSize int) int { return (n + blockSize - 1) / blockSize }

// thresholds are the middles of neighbouring values of ops.NF4, as float32.
var thresholds = func() (t [15]float32) {
	for i := range t {
		t[i] = float32(ops.NF4[i]+ops.NF4[i+1]) / 2
	}
	return t
}()

// A bin is a stretch of [-1, 1] of width 1/binsPerUnit, so narrow that it holds
// one threshold at most. A value's code is then base[bin], plus 1 if it is above
// the threshold in its bin. The tables are longer than needed, so that a masked
// index needs no check.
const binsPerUnit = 16

var (
	base      [64]uint8
	threshold [64]float32 // +Inf where a bin holds none
)

// binOf returns the bin of n in [-1, 1]. It is monotone in n, which is all that
// matters: values on both sides of a threshold but in another bin are told apart
// by their bins.
func binOf(n float32) int32 { return int32(float32(n*binsPerUnit) + binsPerUnit) }

func init() { // of the tables
	for b := range threshold {
		threshold[b] = float32(math.Inf(1))
		for _, t := range thresholds {
			switch at := int(binOf(t)); {
			case at < b:
				base[b]++
			case at == b:
				threshold[b] = t
			}
		}
	}
}

// Quantize packs weights into codes, ⌈len(w)/2⌉ bytes, and absmax, one for each
// of ⌈len(w)/blockSize⌉ blocks. It fails if blockSize is not valid or a weight is
// NaN or infinite. The result does not depend on the number of workers. w is not
// kept.
func Quantize(w []float32, blockSize, workers int) (codes []uint8, absmax []float32, err error) {
	if !ValidBlockSize(blockSize) {
		return nil, nil, fmt.Errorf("block size %d: must be a power of two from 32 to 4096", blockSize)
	}
	codes = make([]uint8, (len(w)+1)/2)
	absmax = make([]float32, Blocks(len(w), blockSize))
	parallel(len(absmax), workers, func(lo, hi int) {
		for b := lo; b < hi; b++ {
			block := w[b*blockSize : min((b+1)*blockSize, len(w))]
			absmax[b] = quantizeBlock(codes[b*blockSize/2:], block)
		}
	})
	for b, m := range absmax {
		if m > math.MaxFloat32 || m != m {
			return nil, nil, notFinite(w, b*blockSize)
		}
	}
	return codes, absmax, nil
}

// notFinite names the first weight that is NaN or infinite, at from or after it.
func notFinite(w []float32, from int) error {
	for w[from]-w[from] == 0 {
		from++
	}
	return fmt.Errorf("weight %d is %v: only finite weights can be quantised", from, w[from])
}

// quantizeBlock packs the codes of a block into dst and returns its absmax, not
// finite if a weight is not.
func quantizeBlock(dst []uint8, w []float32) float32 {
	// Without the sign, floats are ordered like their bits, NaN highest.
	var largest uint32
	for _, x := range w {
		largest = max(largest, math.Float32bits(x)&0x7fffffff)
	}
	absmax := math.Float32frombits(largest)
	inverse := 1 / absmax
	if largest >= 0x7f800000 || inverse > math.MaxFloat32 {
		packSlowly(dst, w, inverse)
		return absmax
	}
	dst = dst[:(len(w)+1)/2]
	for i := range len(w) / 2 {
		pair := w[2*i : 2*i+2 : 2*i+2]
		dst[i] = code(float32(pair[0]*inverse))<<4 | code(float32(pair[1]*inverse))
	}
	if len(w)%2 == 1 {
		dst[len(dst)-1] = code(float32(w[len(w)-1]*inverse))<<4 | 7
	}
	return absmax
}

// code returns the code of n in [-1, 1], without branches.
func code(n float32) uint8 {
	bin := binOf(n) & 63
	// The sign of threshold-n: IEEE subtraction is 0 only for equal numbers.
	above := math.Float32bits(float32(threshold[bin]-n)) >> 31
	return base[bin] + uint8(above)
}

// packSlowly packs a block for which 1/absmax is no number to multiply by.
func packSlowly(dst []uint8, w []float32, inverse float32) {
	for i, x := range w {
		c := uint8(7)
		if x != 0 {
			c = 0
			for _, t := range thresholds {
				if float32(x*inverse) > t {
					c++
				}
			}
		}
		if i%2 == 0 {
			dst[i/2] = c<<4 | 7
		} else {
			dst[i/2] = dst[i/2]&0xf0 | c
		}
	}
}

// parallel calls work for consecutive parts of [0, n), on up to workers
// goroutines, at least one.
func parallel(n, workers int, work func(lo, hi int)) {
	workers = max(min(workers, n), 1)
	if workers == 1 {
		work(0, n)
		return
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { work(i*n/workers, (i+1)*n/workers) })
	}
	wg.Wait()
}
