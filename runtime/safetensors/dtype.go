package safetensors

import (
	"math"
	"slices"
)

// DType is the type of a tensor's elements, as the header spells it.
type DType string

// The types that pipe itself reads and writes. Others are known (see Bits) and
// their bytes can be had.
const (
	BOOL DType = "BOOL"
	U8   DType = "U8"
	I32  DType = "I32"
	I64  DType = "I64"
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
)

// dtypes are all types of the format, in the order in which the original
// library sorts tensors, last first.
var dtypes = []struct {
	name DType
	bits int64
}{
	{BOOL, 8}, {"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {U8, 8}, {"I8", 8},
	{"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
	{"I16", 16}, {"U16", 16}, {F16, 16}, {BF16, 16}, {I32, 32}, {"U32", 32}, {F32, 32},
	{"C64", 64}, {"F64", 64}, {I64, 64}, {"U64", 64},
}

// rank is the place of d among the types, -1 for an unknown one.
func (d DType) rank() int {
	for i, t := range dtypes {
		if t.name == d {
			return i
		}
	}
	return -1
}

// Bits returns the size of one element in bits, 0 if the type is unknown.
func (d DType) Bits() int64 {
	if i := d.rank(); i >= 0 {
		return dtypes[i].bits
	}
	return 0
}

// dtypeNames lists the known types, for a hint.
func dtypeNames() string {
	names := ""
	for _, t := range slices.Backward(dtypes) {
		names += string(t.name) + " "
	}
	return names[:len(names)-1]
}

// Count returns the number of elements of a shape, and false if a dimension is
// negative or a product of them does not fit in an int64.
func Count(shape []int) (int64, bool) {
	n := int64(1)
	for _, dim := range shape {
		if dim < 0 || dim > 0 && n > math.MaxInt64/int64(dim) {
			return 0, false
		}
		n *= int64(dim)
	}
	return n, true
}

// sizeOf returns the bytes that a tensor takes. The message is empty unless
// type and shape have no size.
func sizeOf(dtype DType, shape []int) (bytes int64, message string) {
	count, ok := Count(shape)
	bits := dtype.Bits()
	if !ok || count > math.MaxInt64/bits {
		return 0, "its size overflows"
	}
	if count*bits%8 != 0 {
		return 0, "its elements do not fill whole bytes"
	}
	return count * bits / 8, ""
}
