package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// nf4 emits the packers of NF4 weights whose rows are whole blocks of 64. Both
// scale the code book by the block's absmax first, and round it to bfloat16 if
// they are told to, so that a look-up gives the weight.
func (s *isa) nf4() {
	s.nf4Columns()
	s.nf4Rows()
}

const blockBytes = 32 // of codes

// nf4Columns unpacks one block of lanes rows at a time: first their code books,
// to tables, then the rows' bytes, lanes at a time, for all even columns (the
// high nibbles) and again for the odd ones, transposed.
func (s *isa) nf4Columns() {
	s.begin("nf4Columns", "func(dst *float32, stride int, codes *uint8, rowBytes int, absmax *float32, rowBlocks, blocks int, tables, book *float32, round int)")
	dst, stride, codes, rowBytes := s.int("dst"), s.stride("stride"), s.int("codes"), s.int("rowBytes")
	absmax, rowBlocks, blocks := s.int("absmax"), s.stride("rowBlocks"), s.int("blocks")
	tables, book, round := s.int("tables"), s.int("book"), s.int("round")
	p, t, n := s.GP64(), s.GP64(), s.GP64()

	block := s.label("block")
	s.Label(block)
	scale := s.label("scale")
	s.MOVQ(absmax, p)
	s.MOVQ(tables, t)
	s.MOVQ(I32(int32(s.lanes)), n)
	s.Label(scale)
	for i, v := range s.scaledBook(book, at(p, 0), round) {
		s.VMOVUPS(v, at(t, i*s.bytes))
	}
	s.ADDQ(rowBlocks, p)
	s.ADDQ(Imm(64), t)
	s.DECQ(n)
	s.JNZ(LabelRef(scale))

	group := s.label("group")
	s.MOVQ(I32(int32(blockBytes/s.lanes)), n)
	s.Label(group)
	for odd := range 2 {
		s.MOVQ(codes, p)
		for r := range s.lanes {
			v := s.physical[r]
			s.VPMOVZXBD(at(p, 0), v)
			if odd == 0 {
				s.VPSRLD(Imm(4), v, v)
			}
			s.lookUp(v, v, at(tables, 64*r), at(tables, 64*r+s.bytes), s.physical[s.lanes:])
			if r < s.lanes-1 {
				s.ADDQ(rowBytes, p)
			}
		}
		column := s.GP64()
		s.LEAQ(Mem{Base: dst}, column)
		if odd == 1 {
			s.ADDQ(stride, column)
		}
		for i, v := range s.turn() {
			s.VMOVUPS(v, at(column, 0))
			if i < s.lanes-1 {
				s.LEAQ(Mem{Base: column, Index: stride, Scale: 2}, column)
			}
		}
	}
	s.ADDQ(Imm(uint64(s.lanes)), codes)
	skip := s.GP64()
	s.IMUL3Q(Imm(uint64(2*s.lanes)), stride, skip)
	s.ADDQ(skip, dst)
	s.DECQ(n)
	s.JNZ(LabelRef(group))
	s.ADDQ(Imm(4), absmax)
	s.DECQ(blocks)
	s.JNZ(LabelRef(block))
	s.end()
}

// nf4Rows unpacks two vectors of each of n rows. They lie in one block.
func (s *isa) nf4Rows() {
	s.begin("nf4Rows", "func(dst *float32, n int, codes *uint8, rowBytes int, absmax *float32, rowBlocks int, book *float32, round int)")
	dst, n, codes, rowBytes := s.int("dst"), s.int("n"), s.int("codes"), s.int("rowBytes")
	absmax, rowBlocks := s.int("absmax"), s.stride("rowBlocks")
	book, round := s.int("book"), s.int("round")
	var order [2]reg.VecVirtual
	if s.wide() {
		for i := range order {
			order[i] = s.vec()
			s.VMOVDQU32(s.pairs(i), order[i])
		}
	}
	loop := s.label("row")
	s.Label(loop)
	table := s.scaledBook(book, at(absmax, 0), round)
	even, odd := s.vec(), s.vec()
	s.VPMOVZXBD(at(codes, 0), odd)
	s.VPSRLD(Imm(4), odd, even)
	if s.wide() {
		s.VPERMPS(table[0], even, even)
		s.VPERMPS(table[0], odd, odd)
		first := s.vec()
		s.VMOVAPS(even, first)
		s.VPERMT2PS(odd, order[0], first)
		s.VPERMT2PS(odd, order[1], even)
		s.VMOVUPS(first, at(dst, 0))
		s.VMOVUPS(even, at(dst, s.bytes))
	} else {
		scratch := []reg.VecVirtual{s.vec(), s.vec()}
		for _, v := range []reg.VecVirtual{even, odd} {
			s.lookUp8(v, table[0], table[1], scratch[0], scratch[1])
		}
		low, high := scratch[0], scratch[1]
		s.VUNPCKLPS(odd, even, low)  // e0 o0 e1 o1 | e4 o4 e5 o5
		s.VUNPCKHPS(odd, even, high) // e2 o2 e3 o3 | e6 o6 e7 o7
		s.VPERM2F128(Imm(0x20), high, low, even)
		s.VPERM2F128(Imm(0x31), high, low, odd)
		s.VMOVUPS(even, at(dst, 0))
		s.VMOVUPS(odd, at(dst, s.bytes))
	}
	s.ADDQ(rowBytes, codes)
	s.ADDQ(rowBlocks, absmax)
	s.ADDQ(Imm(uint64(2*s.bytes)), dst)
	s.DECQ(n)
	s.JNZ(LabelRef(loop))
	s.end()
}

// pairs is the order that interleaves two vectors: the low or the high half.
func (s *isa) pairs(half int) Mem {
	m := s.StaticGlobal([]string{"lowPairs", "highPairs"}[half])
	s.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		s.AppendDatum(U32(uint32(8*half + i/2 + 16*(i%2))))
	}
	return m
}

// scaledBook returns the 16 values of the code book times the scale at absmax,
// in as many registers as they take.
func (s *isa) scaledBook(book reg.Register, absmax Mem, round reg.Register) []reg.VecVirtual {
	factor := s.spread(absmax)
	var values []reg.VecVirtual
	for i := 0; i < 16; i += s.lanes {
		v := s.vec()
		s.VMULPS(at(book, 4*i), factor, v)
		values = append(values, v)
	}
	exact := s.label("exact")
	s.TESTQ(round, round)
	s.JZ(LabelRef(exact))
	for _, v := range values {
		s.roundBFloat16(v)
	}
	s.Label(exact)
	return values
}

// roundBFloat16 rounds to nearest even, as ops.RoundBFloat16 does; NaN stays as
// it is.
func (s *isa) roundBFloat16(v reg.VecVirtual) {
	const unordered = 3
	t, one := s.vec(), s.register(s.word(1))
	s.VPSRLD(Imm(16), v, t)
	if s.wide() {
		s.VPANDD(one, t, t)
		s.VPADDD(s.word(0x7fff), t, t)
		s.VPADDD(v, t, t)
		s.VPANDD(s.word(0xffff0000), t, t)
		number := s.K()
		s.VCMPPS(Imm(7), v, v, number) // ordered
		s.VMOVAPS(t, number, v)
		return
	}
	s.VPAND(one, t, t)
	s.VPADDD(s.word(0x7fff), t, t)
	s.VPADDD(v, t, t)
	s.VPAND(s.word(0xffff0000), t, t)
	nan := one
	s.VCMPPS(Imm(unordered), v, v, nan)
	s.VBLENDVPS(nan, v, t, v)
}

// lookUp sets dst to the values that the low four bits of index name, in a table
// of 16 in memory.
func (s *isa) lookUp(index, dst reg.VecPhysical, low, high Mem, scratch []reg.VecPhysical) {
	if s.wide() {
		s.VPERMPS(low, index, dst)
		return
	}
	upper, select8 := scratch[0], scratch[1]
	s.VPSLLD(Imm(28), index, select8) // bit 3 to the sign
	s.VPERMPS(high, index, upper)
	s.VPERMPS(low, index, dst)
	s.VBLENDVPS(select8, upper, dst, dst)
}

// lookUp8 is lookUp in place, with the table in registers.
func (s *isa) lookUp8(v, low, high, upper, select8 reg.VecVirtual) {
	s.VPSLLD(Imm(28), v, select8)
	s.VPERMPS(high, v, upper)
	s.VPERMPS(low, v, v)
	s.VBLENDVPS(select8, upper, v, v)
}
