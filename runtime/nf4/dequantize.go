package nf4

import (
	"fmt"

	"pipe/runtime/ops"
	"pipe/runtime/safetensors"
)

// Dequantize fills dst with ops.NF4[code]·absmax, rounded to dtype, which is
// F32, BF16 or F16. dst has one element for each weight; codes and absmax are
// as Quantize returns them, else it panics. The result does not depend on the
// number of workers.
func Dequantize(dst []float32, codes []uint8, absmax []float32, blockSize int, dtype safetensors.DType, workers int) {
	dequantize(dst, codes, absmax, blockSize, &ops.NF4, rounding(dtype), workers)
}

// rounding returns the function that rounds a float32 to dtype.
func rounding(dtype safetensors.DType) func(float32) float32 {
	switch dtype {
	case safetensors.F32:
		return func(x float32) float32 { return x }
	case safetensors.BF16:
		return ops.RoundBFloat16
	case safetensors.F16:
		return func(x float32) float32 { return safetensors.Float16frombits(safetensors.Float16bits(x)) }
	}
	panic(fmt.Sprintf("internal error: nf4: no weights of type %q", dtype))
}

func dequantize(dst []float32, codes []uint8, absmax []float32, blockSize int, values *[16]float32, round func(float32) float32, workers int) {
	if len(codes) != (len(dst)+1)/2 || len(absmax) != Blocks(len(dst), blockSize) {
		panic(fmt.Sprintf("internal error: nf4: %d weights with %d bytes of codes and %d absmax", len(dst), len(codes), len(absmax)))
	}
	parallel(len(absmax), workers, func(lo, hi int) {
		for b := lo; b < hi; b++ {
			var scaled [16]float32
			for c, v := range values {
				scaled[c] = round(v * absmax[b])
			}
			block := dst[b*blockSize : min((b+1)*blockSize, len(dst))]
			packed := codes[b*blockSize/2:]
			for i := range len(block) / 2 {
				p := packed[i]
				block[2*i] = scaled[p>>4]
				block[2*i+1] = scaled[p&15]
			}
			if n := len(block); n%2 == 1 {
				block[n-1] = scaled[packed[n/2]>>4]
			}
		}
	})
}
