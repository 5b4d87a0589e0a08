package ops

import "math"

// NF4 is the code book of 4-bit NormalFloat: the value of each code, for a block
// scaled to [-1, 1]. The values are constants of the format and are never
// recomputed. Source: QLoRA (Dettmers et al. 2023), appendix E, as float32 in
// bitsandbytes.
var NF4 = [16]float32{
	-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
	-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
	0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
}

// RoundBFloat16 rounds x to the nearest bfloat16, ties to even, and returns it
// as a float32. NaN stays NaN.
func RoundBFloat16(x float32) float32 {
	bits := math.Float32bits(x)
	if bits&0x7fffffff > 0x7f800000 {
		return x
	}
	bits += 0x7fff + bits>>16&1
	return math.Float32frombits(bits &^ 0xffff)
}

// DequantizeRow writes row r of an NF4 matrix to dst, In values. codes and absmax
// are those of a Weight.
func DequantizeRow(dst []float32, codes []uint8, absmax []float32, r, in int, bfloat16 bool) {
	for c := range dst[:in] {
		e := r*in + c
		code := codes[e>>1]
		if e&1 == 0 {
			code >>= 4
		}
		w := NF4[code&15] * absmax[e/BlockSize]
		if bfloat16 {
			w = RoundBFloat16(w)
		}
		dst[c] = w
	}
}
