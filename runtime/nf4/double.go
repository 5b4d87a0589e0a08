package nf4

import (
	"math"
	"slices"
)

// NestedBlockSize is the number of absmax that share one nested absmax.
// bitsandbytes reads no other.
const NestedBlockSize = 256

// Nested is the absmax of a matrix after double quantisation.
type Nested struct {
	Codes  []uint8      // one for each absmax
	Absmax []float32    // one for each 256 codes: the largest |absmax - Offset|
	Map    [256]float32 // the value of each code
	Offset float32      // the mean of absmax
}

// signedMap is what DoubleQuantize uses.
var signedMap = DynamicMap(true)

// DoubleQuantize stores absmax in 8 bits each. The result does not depend on the
// number of workers. Where all absmax of a nested block equal the offset, the
// codes are 127, which stands for 0.
func DoubleQuantize(absmax []float32, workers int) Nested {
	sum := 0.0 // bitsandbytes sums in float32, in an order of its own: equal within 2 ulp
	for _, m := range absmax {
		sum += float64(m)
	}
	return doubleQuantize(absmax, float32(sum/float64(max(len(absmax), 1))), workers)
}

func doubleQuantize(absmax []float32, offset float32, workers int) Nested {
	n := Nested{
		Codes:  make([]uint8, len(absmax)),
		Absmax: make([]float32, Blocks(len(absmax), NestedBlockSize)),
		Map:    signedMap,
		Offset: offset,
	}
	parallel(len(n.Absmax), workers, func(lo, hi int) {
		for b := lo; b < hi; b++ {
			block := absmax[b*NestedBlockSize : min((b+1)*NestedBlockSize, len(absmax))]
			var largest float32
			for _, m := range block {
				largest = max(largest, float32(math.Abs(float64(m-offset))))
			}
			n.Absmax[b] = largest
			for i, m := range block {
				var z float32
				if largest > 0 {
					z = (m - offset) / largest
				}
				n.Codes[b*NestedBlockSize+i] = nearest(z)
			}
		}
	})
	return n
}

// middles are the middles of neighbouring entries of signedMap, exact in float64.
var middles = func() (m [255]float64) {
	for i := range m {
		m[i] = (float64(signedMap[i]) + float64(signedMap[i+1])) / 2
	}
	return m
}()

// mapBins is how many stretches [-1, 1] is cut into to find an entry of the map:
// all but those around 0 hold one middle or none.
const mapBins = 1024

func mapBin(z float64) int { return int((z + 1) * (mapBins / 2)) }

// middlesBelow[b] counts the middles in bins below b.
var middlesBelow = func() (below [mapBins + 2]uint8) {
	for _, m := range middles {
		for b := mapBin(m) + 1; b < len(below); b++ {
			below[b]++
		}
	}
	return below
}()

// nearest returns the index of the entry of signedMap that is nearest to z, which
// is in [-1, 1]; of two, the lower. That is the number of middles below z.
func nearest(z float32) uint8 {
	z64 := float64(z)
	bin := mapBin(z64)
	low, high := middlesBelow[bin], middlesBelow[bin+1]
	for low < high {
		if half := low + (high-low)/2; middles[half] < z64 {
			low = half + 1
		} else {
			high = half
		}
	}
	return low
}

// Restore returns absmax: Map[code]·Absmax + Offset, two roundings each.
func (n Nested) Restore() []float32 {
	absmax := make([]float32, len(n.Codes))
	for i, c := range n.Codes {
		absmax[i] = float32(n.Map[c]*n.Absmax[i/NestedBlockSize]) + n.Offset
	}
	return absmax
}

// DynamicMap returns bitsandbytes' 8-bit dynamic map, sorted: for each of seven
// powers of ten, the middles of an even division of [0.1, 1]; and 0 and 1. The
// signed one has every value but 0 and 1 with both signs. The bits are those of
// torch.linspace on x86-64 with AVX2 or better, which computes with fused
// multiply-adds. Source: create_dynamic_map of bitsandbytes 0.50.2.
func DynamicMap(signed bool) [256]float32 {
	values := []float32{0, 1}
	for i := range 7 {
		n := 1 << i
		if !signed {
			n = 2 << i
		}
		scale := float32(math.Pow10(i - 6))
		ends := linspace(n)
		for k := range n {
			v := scale * (float32(ends[k]+ends[k+1]) / 2)
			values = append(values, v)
			if signed {
				values = append(values, -v)
			}
		}
	}
	slices.Sort(values)
	return [256]float32(values)
}

// linspace returns the n+1 ends of n equal parts of [0.1, 1]: the lower half
// counted from below, the upper half from above.
func linspace(n int) []float32 {
	step := float32(float32(1-float32(0.1)) / float32(n))
	ends := make([]float32, n+1)
	for k := range ends {
		if k < (n+1)/2 {
			ends[k] = fma(step, float32(k), 0.1)
		} else {
			ends[k] = fma(-step, float32(n-k), 1)
		}
	}
	return ends
}

// fma returns x·y+z, rounded once. The product is exact in float64; that the sum
// is rounded to float64 first changes none of the values that it is used for.
func fma(x, y, z float32) float32 {
	return float32(float64(x)*float64(y) + float64(z))
}
