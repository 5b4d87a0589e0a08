package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// attention emits what happens to scores between the two products of attention.
// Scores lie in panels of two vectors.
func (s *isa) attention() {
	s.softmax()
	s.attentionGrad()
}

// softmax goes over the panels of a row twice. The lanes of the sum follow from
// the position alone, and positions that are hidden (minus infinity) add 0.
func (s *isa) softmax() {
	s.begin("softmax", "func(scores *float32, stride, panels int) (max, sum float32)")
	scores, stride, panels := s.int("scores"), s.stride("stride"), s.int("panels")
	p, n := s.GP64(), s.GP64()
	e := s.exponential()
	highest, sums := s.vec(), s.sums(2)
	s.VMOVUPS(at(scores, 0), highest)

	loop := s.label("max")
	s.MOVQ(scores, p)
	s.MOVQ(panels, n)
	s.Label(loop)
	s.VMAXPS(at(p, 0), highest, highest)
	s.VMAXPS(at(p, s.bytes), highest, highest)
	s.ADDQ(stride, p)
	s.DECQ(n)
	s.JNZ(LabelRef(loop))
	x := s.fold(highest, s.greater)
	s.Store(x, s.Return("max"))
	s.VBROADCASTSS(x, highest)

	loop = s.label("exp")
	s.Label(loop)
	for u, sum := range sums {
		v := s.vec()
		s.VMOVUPS(at(scores, u*s.bytes), v)
		s.VSUBPS(highest, v, v)
		v = e.of(v)
		s.VMOVUPS(v, at(scores, u*s.bytes))
		s.VADDPS(v, sum, sum)
	}
	s.ADDQ(stride, scores)
	s.DECQ(panels)
	s.JNZ(LabelRef(loop))
	s.Store(s.total(sums), s.Return("sum"))
	s.end()
}

// attentionGrad goes over consecutive rows of two vectors each.
func (s *isa) attentionGrad() {
	s.begin("attentionGrad", "func(scores, dp *float32, rows int, stats, deltas *float32, scale float32)")
	scores, dp, rows := s.int("scores"), s.int("dp"), s.int("rows")
	stats, deltas, scale := s.int("stats"), s.int("deltas"), s.param("scale")
	e := s.exponential()
	loop := s.label("loop")
	s.Label(loop)
	stat, delta := s.spread(at(stats, 0)), s.spread(at(deltas, 0))
	for u := range 2 {
		v, g := s.vec(), s.vec()
		s.VMOVUPS(at(scores, u*s.bytes), v)
		s.VSUBPS(stat, v, v)
		var p reg.VecVirtual = e.of(v)
		s.VMOVUPS(p, at(scores, u*s.bytes))
		s.VMOVUPS(at(dp, u*s.bytes), g)
		s.VSUBPS(delta, g, g)
		s.VMULPS(p, g, g)
		s.VMULPS(scale, g, g)
		s.VMOVUPS(g, at(dp, u*s.bytes))
	}
	s.ADDQ(Imm(uint64(2*s.bytes)), scores)
	s.ADDQ(Imm(uint64(2*s.bytes)), dp)
	s.ADDQ(Imm(4), stats)
	s.ADDQ(Imm(4), deltas)
	s.DECQ(rows)
	s.JNZ(LabelRef(loop))
	s.end()
}
