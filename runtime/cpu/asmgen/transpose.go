package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose emits the packer of matrices that are read along k:
//
//	dst[i*stride+r] = src[r*ld+i] for r < rows, i < k
//
// It writes lanes values for every i, those from rows on zero, and reads whole
// vectors: up to lanes-1 values behind the last row, which are not used. With a
// stride below lanes each i overwrites what the one before left behind its rows.
func (s *isa) transpose() {
	s.begin("transpose", "func(dst *float32, stride int, src *float32, ld, rows, k int)")
	dst, stride, src := s.int("dst"), s.stride("stride"), s.int("src")
	ld, rows, k := s.stride("ld"), s.int("rows"), s.int("k")
	block, done := s.label("block"), s.label("done")
	s.TESTQ(k, k)
	s.JLE(LabelRef(done))
	s.Label(block)
	s.loadRows(src, ld, rows)
	for _, column := range s.turn() {
		s.VMOVUPS(column, at(dst, 0))
		s.DECQ(k)
		s.JZ(LabelRef(done))
		s.ADDQ(stride, dst)
	}
	s.ADDQ(Imm(uint64(s.bytes)), src)
	s.JMP(LabelRef(block))
	s.Label(done)
	s.end()
}

// loadRows loads one vector of each of the first rows rows into the first
// registers, and clears those of the others.
func (s *isa) loadRows(src, ld, rows reg.Register) {
	p := s.GP64()
	s.MOVQ(src, p)
	loaded := s.label("loaded")
	none := make([]string, s.lanes)
	for r := range none {
		none[r] = s.label("clear")
	}
	for r := range s.lanes {
		s.CMPQ(rows, Imm(uint64(r)))
		s.JLE(LabelRef(none[r]))
		s.VMOVUPS(at(p, 0), s.physical[r])
		s.ADDQ(ld, p)
	}
	s.JMP(LabelRef(loaded))
	for r := range s.lanes {
		s.Label(none[r])
		s.clear(s.physical[r])
	}
	s.Label(loaded)
}

// turn transposes the square in the first lanes registers and returns the
// registers of its columns, in order. The rest of the register file is scratch.
func (s *isa) turn() []reg.VecPhysical {
	r, t := s.physical[:s.lanes], s.physical[s.lanes:]
	for i := 0; i < s.lanes; i += 2 {
		s.VUNPCKLPS(r[i+1], r[i], t[i])
		s.VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < s.lanes; i += 4 {
		s.VUNPCKLPD(t[i+2], t[i], r[i])
		s.VUNPCKHPD(t[i+2], t[i], r[i+1])
		s.VUNPCKLPD(t[i+3], t[i+1], r[i+2])
		s.VUNPCKHPD(t[i+3], t[i+1], r[i+3])
	}
	// Now 128-bit lane l of r[4g+c] holds rows 4g to 4g+3 of column 4l+c.
	out := make([]reg.VecPhysical, s.lanes)
	if !s.wide() {
		for c := range 4 {
			s.VPERM2F128(Imm(0x20), r[4+c], r[c], t[c])
			s.VPERM2F128(Imm(0x31), r[4+c], r[c], t[4+c])
			out[c], out[4+c] = t[c], t[4+c]
		}
		return out
	}
	for c := range 4 {
		s.VSHUFF32X4(Imm(0x88), r[4+c], r[c], t[c])   // lanes 0, 2 of groups 0, 1
		s.VSHUFF32X4(Imm(0xdd), r[4+c], r[c], t[4+c]) // lanes 1, 3
		s.VSHUFF32X4(Imm(0x88), r[12+c], r[8+c], t[8+c])
		s.VSHUFF32X4(Imm(0xdd), r[12+c], r[8+c], t[12+c])
	}
	for c := range 4 {
		s.VSHUFF32X4(Imm(0x88), t[8+c], t[c], r[c])
		s.VSHUFF32X4(Imm(0xdd), t[8+c], t[c], r[8+c])
		s.VSHUFF32X4(Imm(0x88), t[12+c], t[4+c], r[4+c])
		s.VSHUFF32X4(Imm(0xdd), t[12+c], t[4+c], r[12+c])
		out[c], out[4+c], out[8+c], out[12+c] = r[c], r[4+c], r[8+c], r[12+c]
	}
	return out
}
