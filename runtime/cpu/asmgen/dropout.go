package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const gamma = 0x9e3779b97f4a7c15

// dropout emits the hash of ops.Dropped: SplitMix64 of counters that are gamma
// apart, in lanes of 64 bits, two vectors of them for each vector of elements.
func (s *isa) dropout() {
	s.begin("dropout", "func(dst, src []float32, counter, threshold uint64, keep float32)")
	dst, src, n := s.base("dst"), s.base("src"), s.length("dst")
	keep := s.param("keep")
	threshold := s.quads(s.parameter("threshold"))
	counters := s.quads(s.parameter("counter"))
	half := s.lanes / 2
	s.VPADDQ(s.gammas(0, half), counters, counters)
	first := s.multiplier(0xbf58476d1ce4e5b9)
	second := s.multiplier(0x94d049bb133111eb)
	step := s.quads(s.quad(gamma * uint64(half)))
	if !s.wide() {
		// There is no unsigned comparison: of two numbers of 63 bits the signed one
		// does as well, and the bits under the upper 24 do not matter.
		s.VPSRLQ(Imm(1), threshold, threshold)
	}
	s.each(n, 1, func(a access, _ int) {
		v := a.load(src)
		s.VMULPS(keep, v, v)
		var kept [2]reg.Register
		for i := range kept {
			z := s.vec()
			s.move(counters, z)
			s.VPADDQ(step, counters, counters)
			s.mix(z, 30)
			first.times(z)
			s.mix(z, 27)
			second.times(z)
			s.mix(z, 31)
			kept[i] = s.notBelow(z, threshold)
		}
		if s.wide() {
			s.KUNPCKBW(kept[0], kept[1], kept[0])
			s.VMOVAPS_Z(v, kept[0], v)
		} else {
			// The low halves of the eight comparisons, back in order.
			s.VSHUFPS(Imm(0x88), kept[1], kept[0], kept[0])
			s.VPERMPD(Imm(0xd8), kept[0], kept[0])
			s.VANDNPS(v, kept[0], v)
		}
		a.store(v, dst)
	})
	s.end()
}

func (s *isa) move(src, dst reg.Register) {
	if s.wide() {
		s.VMOVDQA64(src, dst)
	} else {
		s.VMOVDQA(src, dst)
	}
}

func (s *isa) parameter(name string) Op {
	p, err := s.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// quads spreads a word of 64 bits.
func (s *isa) quads(m Op) reg.VecVirtual {
	v := s.vec()
	s.VPBROADCASTQ(m, v)
	return v
}

func (s *isa) quad(q uint64) Op {
	m := s.StaticGlobal(fmt.Sprintf("q%016x", q))
	s.DataAttributes(attr.RODATA | attr.NOPTR)
	s.AppendDatum(U64(q))
	return m
}

// gammas returns from·gamma, (from+1)·gamma and so on in memory.
func (s *isa) gammas(from, n int) Op {
	m := s.StaticGlobal("gammas")
	s.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range n {
		s.AppendDatum(U64(gamma * uint64(from+i)))
	}
	return m
}

// mix sets z to z ^ z>>shift.
func (s *isa) mix(z reg.VecVirtual, shift int) {
	t := s.vec()
	s.VPSRLQ(Imm(uint64(shift)), z, t)
	if s.wide() {
		s.VPXORQ(t, z, z)
	} else {
		s.VPXOR(t, z, z)
	}
}

// notBelow says where z >= threshold, or for AVX2, with the threshold halved,
// where z < threshold.
func (s *isa) notBelow(z, threshold reg.VecVirtual) reg.Register {
	if s.wide() {
		const notLess = 5
		k := s.K()
		s.VPCMPUQ(Imm(notLess), threshold, z, k)
		return k
	}
	s.VPSRLQ(Imm(1), z, z)
	s.VPCMPGTQ(z, threshold, z)
	return z
}

// multiplier multiplies 64-bit lanes by a constant. AVX2 has only products of
// 32-bit halves.
type multiplier struct {
	*isa
	low, high reg.VecVirtual
}

func (s *isa) multiplier(q uint64) multiplier {
	m := multiplier{isa: s, low: s.quads(s.quad(q))}
	if !s.wide() {
		m.high = s.vec()
		s.VPSRLQ(Imm(32), m.low, m.high)
	}
	return m
}

func (m multiplier) times(z reg.VecVirtual) {
	if m.wide() {
		m.VPMULLQ(m.low, z, z)
		return
	}
	cross, upper := m.vec(), m.vec()
	m.VPMULUDQ(m.high, z, cross)
	m.VPSRLQ(Imm(32), z, upper)
	m.VPMULUDQ(m.low, upper, upper)
	m.VPADDQ(upper, cross, cross)
	m.VPSLLQ(Imm(32), cross, cross)
	m.VPMULUDQ(m.low, z, z)
	m.VPADDQ(cross, z, z)
}
