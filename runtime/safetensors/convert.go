package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// toFloat32s converts the elements of data, F32, BF16 or F16, exactly. It
// reports false for another type.
func toFloat32s(dst []float32, dtype DType, data []byte) bool {
	switch dtype {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16)
		}
	case F16:
		for i := range dst {
			dst[i] = Float16frombits(binary.LittleEndian.Uint16(data[2*i:]))
		}
	default:
		return false
	}
	return true
}

// AppendFloat32s appends src to dst as elements of F32, BF16 or F16, each
// rounded to the nearest, ties to even. Another type is a bug of the caller.
func AppendFloat32s(dst []byte, dtype DType, src []float32) []byte {
	switch dtype {
	case F32:
		for _, x := range src {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
		}
	case BF16:
		for _, x := range src {
			dst = binary.LittleEndian.AppendUint16(dst, BFloat16bits(x))
		}
	case F16:
		for _, x := range src {
			dst = binary.LittleEndian.AppendUint16(dst, Float16bits(x))
		}
	default:
		panic(fmt.Sprintf("internal error: safetensors: float32 to %s", dtype))
	}
	return dst
}

// AppendInt32s appends src to dst as elements of I32.
func AppendInt32s(dst []byte, src []int32) []byte {
	for _, x := range src {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
	}
	return dst
}

// AppendInt64s appends src to dst as elements of I64.
func AppendInt64s(dst []byte, src []int64) []byte {
	for _, x := range src {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(x))
	}
	return dst
}

// toInt64s converts the elements of data, of an integer type of up to 64 bits
// or BOOL. It reports false for another type.
func toInt64s(dst []int64, dtype DType, data []byte) bool {
	var element func(b []byte) int64
	switch dtype {
	case BOOL, U8:
		element = func(b []byte) int64 { return int64(b[0]) }
	case "I8":
		element = func(b []byte) int64 { return int64(int8(b[0])) }
	case "I16":
		element = func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) }
	case "U16":
		element = func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }
	case I32:
		element = func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) }
	case "U32":
		element = func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }
	case I64:
		element = func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }
	default:
		return false
	}
	width := int(dtype.Bits() / 8)
	for i := range dst {
		dst[i] = element(data[i*width:])
	}
	return true
}

// BFloat16bits returns the bfloat16 nearest to x, ties to even. NaN stays NaN.
func BFloat16bits(x float32) uint16 {
	bits := math.Float32bits(x)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40 // quiet: the bits cut off may be the only ones set
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// Float16frombits returns the value of an IEEE half-precision number. It is
// exact.
func Float16frombits(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent := uint32(h>>10) & 0x1f
	fraction := uint32(h & 0x3ff)
	switch exponent {
	case 0: // zero or subnormal: fraction · 2^-24
		x := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(x) | sign)
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// Float16bits returns the IEEE half-precision number nearest to x, ties to even;
// what is too large becomes infinity. NaN stays NaN.
func Float16bits(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	magnitude := bits & 0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7e00 | uint16(magnitude>>13&0x3ff)
	case magnitude >= 0x47800000: // 65536 and above
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2^-14: a multiple of 2^-24
		// Adding 0.5 leaves exactly those bits in the fraction, rounded.
		sum := math.Float32frombits(magnitude) + 0.5
		return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
	}
	rounded := magnitude + 0xfff + magnitude>>13&1
	return sign | uint16((rounded-(127-15)<<23)>>13)
}

// NotFinite returns the index of the first value that is NaN or infinite, or -1.
func NotFinite(values []float32) int {
	for i, x := range values {
		if x-x != 0 {
			return i
		}
	}
	return -1
}
