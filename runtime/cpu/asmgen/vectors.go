package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectors emits the operations on rows and runs of elements. What each computes
// is said at the fields of kernels in package cpu.
func (s *isa) vectors() {
	s.mapExp()
	s.add()
	s.scale()
	s.dot()
	s.dot3()
	s.max()
	s.norm()
	s.normGrad()
	s.rope()
	s.swiglu()
	s.swigluGrad()
	s.adamw()
	s.expSum()
}

func (s *isa) mapExp() {
	s.begin("exp", "func(dst, src []float32)")
	dst, src, n := s.base("dst"), s.base("src"), s.length("dst")
	e := s.exponential()
	s.each(n, 1, func(a access, _ int) { a.store(e.of(a.load(src)), dst) })
	s.end()
}

func (s *isa) add() {
	s.begin("add", "func(dst, src []float32)")
	dst, src, n := s.base("dst"), s.base("src"), s.length("dst")
	s.each(n, 2, func(a access, _ int) {
		x, y := a.load(dst), a.load(src)
		s.VADDPS(y, x, x)
		a.store(x, dst)
	})
	s.end()
}

func (s *isa) scale() {
	s.begin("scale", "func(x []float32, f float32)")
	x, n, f := s.base("x"), s.length("x"), s.param("f")
	s.each(n, 2, func(a access, _ int) {
		v := a.load(x)
		s.VMULPS(f, v, v)
		a.store(v, x)
	})
	s.end()
}

// sums returns n cleared registers; total adds them up.
func (s *isa) sums(n int) []reg.VecVirtual {
	var sums []reg.VecVirtual
	for range n {
		sums = append(sums, s.zero())
	}
	return sums
}

func (s *isa) total(sums []reg.VecVirtual) reg.Register {
	for n := len(sums); n > 1; n /= 2 {
		for i := range n / 2 {
			s.VADDPS(sums[n/2+i], sums[i], sums[i])
		}
	}
	return s.fold(sums[0], s.plus)
}

func (s *isa) dot() {
	s.begin("dot", "func(a, b []float32) float32")
	x, y, n := s.base("a"), s.base("b"), s.length("a")
	sums := s.sums(4)
	s.each(n, 4, func(a access, u int) { s.VFMADD231PS(a.load(x), a.load(y), sums[u]) })
	s.Store(s.total(sums), s.ReturnIndex(0))
	s.end()
}

func (s *isa) dot3() {
	s.begin("dot3", "func(a, b, c []float32) float32")
	x, y, z, n := s.base("a"), s.base("b"), s.base("c"), s.length("a")
	sums := s.sums(2)
	s.each(n, 2, func(a access, u int) {
		v := a.load(x)
		s.VMULPS(a.load(y), v, v)
		s.VFMADD231PS(a.load(z), v, sums[u])
	})
	s.Store(s.total(sums), s.ReturnIndex(0))
	s.end()
}

func (s *isa) max() {
	s.begin("max", "func(x []float32) float32")
	x, n := s.base("x"), s.length("x")
	highest := s.spread(at(x, 0))
	s.each(n, 1, func(a access, _ int) {
		v := a.load(x)
		a.instead(v, highest)
		s.VMAXPS(v, highest, highest)
	})
	s.Store(s.fold(highest, s.greater), s.ReturnIndex(0))
	s.end()
}

func (s *isa) norm() {
	s.begin("norm", "func(y, x, weight []float32, f float32)")
	y, x, weight, n := s.base("y"), s.base("x"), s.base("weight"), s.length("y")
	f := s.param("f")
	s.each(n, 1, func(a access, _ int) {
		v := a.load(x)
		s.VMULPS(f, v, v)
		s.VMULPS(a.load(weight), v, v)
		a.store(v, y)
	})
	s.end()
}

func (s *isa) normGrad() {
	s.begin("normGrad", "func(dx, dy, weight, x []float32, f, c float32)")
	dx, dy, weight, x, n := s.base("dx"), s.base("dy"), s.base("weight"), s.base("x"), s.length("dx")
	f, c := s.param("f"), s.param("c")
	s.each(n, 1, func(a access, _ int) {
		g, sum := a.load(dy), a.load(dx)
		s.VMULPS(a.load(weight), g, g)
		s.VFMADD231PS(f, g, sum)
		s.VFNMADD231PS(a.load(x), c, sum)
		a.store(sum, dx)
	})
	s.end()
}

// rope goes over the heads of a row, and in each over the pairs of its halves.
func (s *isa) rope() {
	s.begin("rope", "func(x, angles []float32, sign float32)")
	first, cosines := s.base("x"), s.base("angles")
	left, half := s.length("x"), s.length("angles")
	sign := s.param("sign")
	s.SHRQ(Imm(1), half)
	second, sines := s.GP64(), s.GP64()
	s.LEAQ(Mem{Base: cosines, Index: half, Scale: 4}, sines)
	next, done := s.label("head"), s.label("done")
	s.Label(next)
	s.SUBQ(half, left)
	s.SUBQ(half, left)
	s.JLT(LabelRef(done))
	s.LEAQ(Mem{Base: first, Index: half, Scale: 4}, second)
	n := s.GP64()
	s.MOVQ(half, n)
	s.each(n, 1, func(a access, _ int) {
		x, y, cos, sin := a.load(first), a.load(second), a.load(cosines), a.load(sines)
		s.VMULPS(sign, sin, sin)
		u, v := s.vec(), s.vec()
		s.VMULPS(sin, y, u)
		s.VMULPS(sin, x, v)
		s.VFMSUB213PS(u, cos, x) // x·cos - y·sin
		s.VFMADD213PS(v, cos, y) // y·cos + x·sin
		a.store(x, first)
		a.store(y, second)
	})
	s.LEAQ(Mem{Base: second, Index: half, Scale: 4}, first)
	s.JMP(LabelRef(next))
	s.Label(done)
	s.end()
}

func (s *isa) swiglu() {
	s.begin("swiglu", "func(h, gate, up []float32)")
	h, gate, up, n := s.base("h"), s.base("gate"), s.base("up"), s.length("h")
	e, one := s.exponential(), s.literal(1)
	s.each(n, 1, func(a access, _ int) {
		g := a.load(gate)
		sigmoid := e.sigmoid(g, one)
		s.VMULPS(g, sigmoid, sigmoid)
		s.VMULPS(a.load(up), sigmoid, sigmoid)
		a.store(sigmoid, h)
	})
	s.end()
}

func (s *isa) swigluGrad() {
	s.begin("swigluGrad", "func(dgate, dup, dh, gate, up []float32)")
	dgate, dup, dh, gate, up := s.base("dgate"), s.base("dup"), s.base("dh"), s.base("gate"), s.base("up")
	n := s.length("dgate")
	e, one := s.exponential(), s.literal(1)
	s.each(n, 1, func(a access, _ int) {
		g := a.load(gate)
		sigmoid := e.sigmoid(g, one)
		ds := a.load(dh)
		s.VMULPS(sigmoid, ds, ds) // dh·s
		slope := s.register(one)
		s.VSUBPS(sigmoid, slope, slope)
		s.VFMADD213PS(one, g, slope) // 1 + g·(1-s)
		s.VMULPS(ds, g, g)
		a.store(g, dup)
		s.VMULPS(a.load(up), ds, ds)
		s.VMULPS(slope, ds, ds)
		a.store(ds, dgate)
	})
	s.end()
}

// adamw rounds after every operation, as the reference does: nothing is fused.
func (s *isa) adamw() {
	s.begin("adamw", "func(p, g, m, v []float32, step *[9]float32)")
	p, g, m, v, n := s.base("p"), s.base("g"), s.base("m"), s.base("v"), s.length("p")
	step := s.int("step")
	var c []reg.VecVirtual
	for i := range 9 {
		c = append(c, s.spread(at(step, 4*i)))
	}
	s.each(n, 1, func(a access, _ int) {
		grad, square := a.load(g), s.vec()
		s.VMULPS(c[0], grad, grad)
		s.VMULPS(c[5], grad, square)
		s.VMULPS(grad, square, square)
		s.VMULPS(c[3], grad, grad)
		mean := a.load(m)
		s.VMULPS(c[2], mean, mean)
		s.VADDPS(grad, mean, mean)
		a.store(mean, m)
		root := a.load(v)
		s.VMULPS(c[4], root, root)
		s.VADDPS(square, root, root)
		a.store(root, v)
		s.VSQRTPS(root, root)
		s.VDIVPS(c[7], root, root)
		s.VADDPS(c[8], root, root)
		s.VMULPS(c[6], mean, mean)
		s.VDIVPS(root, mean, mean)
		x := a.load(p)
		s.VMULPS(c[1], x, x)
		s.VSUBPS(mean, x, x)
		a.store(x, p)
	})
	s.end()
}

func (s *isa) expSum() {
	s.begin("expSum", "func(x []float32, max float32) (sum, weighted float32)")
	x, n, highest := s.base("x"), s.length("x"), s.param("max")
	e := s.exponential()
	sum, weighted := s.zero(), s.zero()
	s.each(n, 1, func(a access, _ int) {
		d := a.load(x)
		s.VSUBPS(highest, d, d)
		p := e.of(d)
		a.only(p)
		a.store(p, x)
		s.VADDPS(p, sum, sum)
		s.VFMADD231PS(d, p, weighted)
	})
	s.Store(s.fold(sum, s.plus), s.Return("sum"))
	s.Store(s.fold(weighted, s.plus), s.Return("weighted"))
	s.end()
}
