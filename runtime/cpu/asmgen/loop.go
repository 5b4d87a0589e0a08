package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// access is one vector of the elements that a loop goes over: a whole one, or
// the rest at the end, under a mask.
type access struct {
	*isa
	index reg.Register // bytes from the beginning
	disp  int
	mask  reg.Register // nil for a whole vector
}

// each emits a loop over n elements; n is a register that it uses up. body is
// emitted for unroll vectors at a time, then for one, then for the rest. It gets
// the number of the vector, below unroll.
func (s *isa) each(n reg.Register, unroll int, body func(a access, u int)) {
	index := s.GP64()
	s.XORQ(index, index)
	steps := []int{unroll, 1}
	if unroll == 1 {
		steps = steps[1:]
	}
	for _, step := range steps {
		loop, end := s.label("loop"), s.label("end")
		s.SUBQ(I32(int32(step*s.lanes)), n)
		s.JLT(LabelRef(end))
		s.Label(loop)
		for u := range step {
			body(access{isa: s, index: index, disp: u * s.bytes}, u)
		}
		s.ADDQ(I32(int32(step*s.bytes)), index)
		s.SUBQ(I32(int32(step*s.lanes)), n)
		s.JGE(LabelRef(loop))
		s.Label(end)
		s.ADDQ(I32(int32(step*s.lanes)), n)
	}
	done := s.label("done")
	s.JZ(LabelRef(done))
	body(access{isa: s, index: index, mask: s.tailMask(n)}, 0)
	s.Label(done)
}

// tailMask returns a mask of the first n lanes.
func (s *isa) tailMask(n reg.Register) reg.Register {
	if s.wide() {
		bits := s.GP32()
		s.MOVL(U32(0xffff), bits)
		s.BZHIL(n.(reg.GP).As32(), bits, bits)
		k := s.K()
		s.KMOVW(bits, k)
		return k
	}
	if _, ok := s.constants[maskTable]; !ok {
		table := s.StaticGlobal("tailMask")
		s.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 16 {
			word := U32(0)
			if i < 8 {
				word = math.MaxUint32
			}
			s.AppendDatum(word)
		}
		s.constants[maskTable] = table
	}
	end, mask := s.GP64(), s.YMM()
	s.LEAQ(s.constants[maskTable].Offset(32), end)
	s.SHLQ(Imm(2), n)
	s.SUBQ(n, end)
	s.VMOVDQU(at(end, 0), mask)
	return mask
}

// maskTable is a key of constants that is no float32 in use.
const maskTable = math.MaxUint32

func (a access) at(base reg.Register) Mem {
	return Mem{Base: base, Index: a.index, Scale: 1, Disp: a.disp}
}

// load loads the vector of the array at base; lanes behind the end are 0.
func (a access) load(base reg.Register) reg.VecVirtual {
	v := a.vec()
	switch {
	case a.mask == nil:
		a.VMOVUPS(a.at(base), v)
	case a.wide():
		a.VMOVUPS_Z(a.at(base), a.mask, v)
	default:
		a.VMASKMOVPS(a.at(base), a.mask, v)
	}
	return v
}

func (a access) store(v reg.VecVirtual, base reg.Register) {
	switch {
	case a.mask == nil:
		a.VMOVUPS(v, a.at(base))
	case a.wide():
		a.VMOVUPS(v, a.mask, a.at(base))
	default:
		a.VMASKMOVPS(v, a.mask, a.at(base))
	}
}

// only clears the lanes of v behind the end.
func (a access) only(v reg.VecVirtual) {
	switch {
	case a.mask == nil:
	case a.wide():
		a.VMOVAPS_Z(v, a.mask, v)
	default:
		a.VANDPS(a.mask, v, v)
	}
}

// instead gives the lanes of v behind the end the values of other.
func (a access) instead(v, other reg.VecVirtual) {
	switch {
	case a.mask == nil:
	case a.wide():
		a.VBLENDMPS(v, other, a.mask, v)
	default:
		a.VBLENDVPS(a.mask, v, other, v)
	}
}

// literal returns a float32 in every lane, as an operand: a register that is
// loaded here for AVX-512, which has enough of them, memory for AVX2.
func (s *isa) literal(f float32) Op { return s.word(math.Float32bits(f)) }

func (s *isa) word(bits uint32) Op {
	m, ok := s.constants[bits]
	if !ok {
		m = s.StaticGlobal("c" + hex(bits))
		s.DataAttributes(attr.RODATA | attr.NOPTR)
		copies := 1
		if !s.wide() {
			copies = s.lanes
		}
		for range copies {
			s.AppendDatum(U32(bits))
		}
		s.constants[bits] = m
	}
	if s.wide() {
		return s.spread(m)
	}
	return m
}

func hex(bits uint32) string {
	const digits = "0123456789abcdef"
	text := make([]byte, 8)
	for i := range text {
		text[i] = digits[bits>>(28-4*i)&15]
	}
	return string(text)
}

// register returns op in a register that may be written to.
func (s *isa) register(op Op) reg.VecVirtual {
	v := s.vec()
	s.VMOVUPS(op, v)
	return v
}

// fold combines the lanes of v, in an order that does not depend on the data,
// and returns the result in the lowest lane.
func (s *isa) fold(v reg.VecVirtual, combine func(a, b, dst Op)) reg.Register {
	y := v.AsY()
	if s.wide() {
		high := s.YMM()
		s.VEXTRACTF64X4(Imm(1), v, high)
		combine(high, y, y)
	}
	x, high := v.AsX(), s.XMM()
	s.VEXTRACTF128(Imm(1), y, high)
	combine(high, x, x)
	s.VPERMILPS(Imm(0x4e), x, high)
	combine(high, x, x)
	s.VPERMILPS(Imm(0xb1), x, high)
	combine(high, x, x)
	return x
}

func (s *isa) plus(a, b, dst Op)    { s.VADDPS(a, b, dst) }
func (s *isa) greater(a, b, dst Op) { s.VMAXPS(a, b, dst) }

// zero returns a cleared vector.
func (s *isa) zero() reg.VecVirtual {
	v := s.vec()
	s.clear(v)
	return v
}
