package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exponential holds the constants of exp; see exp32 in package cpu, which it
// follows step by step but for fused rounding.
type exponential struct {
	*isa
	lowest, highest, log2e, ln2High, ln2Low Op
	polynomial                              []Op
	bias                                    Op // AVX2: 127 in the place of a float32's exponent
}

func (s *isa) exponential() *exponential {
	e := &exponential{
		isa: s, lowest: s.literal(-87.33654), highest: s.literal(88.37626),
		log2e: s.literal(1.44269504088896341), ln2High: s.literal(0.693359375), ln2Low: s.literal(-2.12194440e-4),
	}
	for _, c := range []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1} {
		e.polynomial = append(e.polynomial, s.literal(c))
	}
	if !s.wide() {
		e.bias = s.word(127 << 23)
	}
	return e
}

// of returns exp(x); x stays as it is. NaN stays NaN, so the operand that may be
// NaN is the first one, which is what VMINPS returns then, and the comparison is
// one that holds for NaN.
func (e *exponential) of(x reg.VecVirtual) reg.VecVirtual {
	const notLess = 5
	r, n := e.register(e.highest), e.vec()
	e.VMINPS(x, r, r)
	e.VMULPS(e.log2e, r, n)
	if e.wide() {
		e.VRNDSCALEPS(Imm(0), n, n)
	} else {
		e.VROUNDPS(Imm(0), n, n)
	}
	e.VFNMADD231PS(e.ln2High, n, r)
	e.VFNMADD231PS(e.ln2Low, n, r)
	p := e.register(e.polynomial[0])
	for _, c := range e.polynomial[1:] {
		e.VFMADD213PS(c, r, p)
	}
	e.VFMADD213PS(e.polynomial[len(e.polynomial)-1], r, p) // the last two are both 1
	if e.wide() {
		e.VSCALEFPS(n, p, p)
		keep := e.K()
		e.VCMPPS(Imm(notLess), e.lowest, x, keep)
		e.VMOVAPS_Z(p, keep, p)
		return p
	}
	e.VCVTPS2DQ(n, n)
	e.VPSLLD(Imm(23), n, n)
	e.VPADDD(e.bias, n, n)
	e.VMULPS(n, p, p)
	e.VCMPPS(Imm(notLess), e.lowest, x, n)
	e.VANDPS(n, p, p)
	return p
}

// sigmoid returns 1/(1 + exp(-x)).
func (e *exponential) sigmoid(x reg.VecVirtual, one Op) reg.VecVirtual {
	negative := e.zero()
	e.VSUBPS(x, negative, negative)
	p := e.of(negative)
	e.VADDPS(one, p, p)
	s := e.register(one)
	e.VDIVPS(p, s, s)
	return s
}
