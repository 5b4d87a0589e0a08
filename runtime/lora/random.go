package lora

// Uniform returns number i of the stream named (seed, stream), in [0, 1) in steps
// of 2^-24. It is a pure function: element i of A of linear l in layer k is number
// i (row-major) of stream 7k+l.
//
// The stream's key is SplitMix64 (Steele, Lea & Flood 2014) of seed and stream;
// the number is SplitMix64 of the key and i.
func Uniform(seed, stream, i uint64) float64 {
	return float64(Mix(Mix(seed, stream), i)>>40) * (1.0 / (1 << 24))
}

// Mix is output n of the SplitMix64 generator that starts at seed: a hash that
// makes a stream's key out of another's.
func Mix(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fillUniform fills values with numbers in [-bound, bound). Every operation is
// exact or rounded once, so the bits are equal on every machine.
func fillUniform(values []float32, seed, stream uint64, bound float64) {
	for i := range values {
		values[i] = float32((2*Uniform(seed, stream, uint64(i)) - 1) * bound)
	}
}
