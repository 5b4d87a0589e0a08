package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tiles emits the matrix kernels: a full tile that fills the register file with
// sums, and for AVX-512 one of half the width for matrices of up to 16 columns
// (LoRA ranks, narrow heads). Each exists for every number of rows up to the
// full one, so that no edge is padded.
func (s *isa) tiles() {
	full, narrow := 6, false
	if s.wide() {
		full, narrow = 14, true
	}
	for rows := 1; rows <= full; rows++ {
		s.tile(rows, 2, rows == full)
		if narrow {
			s.tile(rows, 1, rows == full)
		}
	}
}

// tile emits
//
//	C[rows][vectors*lanes] (+)= Σ_k A[k][rows] · B[k][vectors*lanes]
//
// A is packed, k rows of rows values; rows of B are ldb and those of C ldc values
// apart. Each element is one chain of fused multiply-adds, k ascending, from
// zero; with add != 0 the sum is then added to C. So the value of an element
// does not depend on the shape of the tile that computes it.
func (s *isa) tile(rows, vectors int, full bool) {
	unroll := 1
	if full {
		unroll = 4
	}
	s.begin(fmt.Sprintf("tile%dx%d", rows, vectors*s.lanes), "func(k int, a, b *float32, ldb int, c *float32, ldc, add int)")
	k, a, b, c := s.int("k"), s.int("a"), s.int("b"), s.int("c")
	ldb, ldc, add := s.stride("ldb"), s.stride("ldc"), s.int("add")

	sums := s.physical[:rows*vectors]
	right := s.physical[rows*vectors:][:vectors]
	left := s.physical[rows*vectors+vectors:]
	left = left[:min(4, len(left))]
	sum := func(r, v int) reg.VecPhysical { return sums[r*vectors+v] }

	for _, z := range sums {
		s.clear(z)
	}
	// Into L2 and not L1: rows of C that are a power of two apart would evict
	// one another.
	row := s.GP64()
	s.MOVQ(c, row)
	for r := range rows {
		for v := 0; v < vectors*s.bytes; v += 64 {
			s.PREFETCHT1(at(row, v))
		}
		if r < rows-1 {
			s.ADDQ(ldc, row)
		}
	}

	var thrice reg.Register
	if unroll > 1 {
		thrice = s.GP64()
		s.LEAQ(Mem{Base: ldb, Index: ldb, Scale: 2}, thrice)
	}
	turn := 0
	step := func(u int) {
		m := Mem{Base: b}
		switch u {
		case 1, 2:
			m = Mem{Base: b, Index: ldb, Scale: uint8(u)}
		case 3:
			m = Mem{Base: b, Index: thrice, Scale: 1}
		}
		for v := range vectors {
			s.VMOVUPS(m.Offset(v*s.bytes), right[v])
		}
		for r := range rows {
			x := left[turn%len(left)]
			turn++
			s.VBROADCASTSS(at(a, (u*rows+r)*4), x)
			for v := range vectors {
				s.VFMADD231PS(right[v], x, sum(r, v))
			}
		}
	}
	main, tail, rest, done, store := s.label("main"), s.label("tail"), s.label("rest"), s.label("done"), s.label("store")
	if unroll > 1 {
		s.SUBQ(Imm(uint64(unroll)), k)
		s.JLT(LabelRef(tail))
		s.Label(main)
		for u := range unroll {
			step(u)
		}
		s.ADDQ(I32(int32(unroll*rows*4)), a)
		s.LEAQ(Mem{Base: b, Index: ldb, Scale: 4}, b)
		s.SUBQ(Imm(uint64(unroll)), k)
		s.JGE(LabelRef(main))
		s.Label(tail)
		s.ADDQ(Imm(uint64(unroll)), k)
	}
	s.TESTQ(k, k)
	s.JLE(LabelRef(done))
	s.Label(rest)
	step(0)
	s.ADDQ(I32(int32(rows*4)), a)
	s.ADDQ(ldb, b)
	s.DECQ(k)
	s.JNZ(LabelRef(rest))
	s.Label(done)

	s.TESTQ(add, add)
	s.JZ(LabelRef(store))
	s.MOVQ(c, row)
	for r := range rows {
		for v := range vectors {
			s.VADDPS(at(row, v*s.bytes), sum(r, v), sum(r, v))
		}
		if r < rows-1 {
			s.ADDQ(ldc, row)
		}
	}
	s.Label(store)
	for r := range rows {
		for v := range vectors {
			s.VMOVUPS(sum(r, v), at(c, v*s.bytes))
		}
		if r < rows-1 {
			s.ADDQ(ldc, c)
		}
	}
	s.end()
}

// pause emits the hint of a spinning loop.
func pause(s *isa) {
	s.Function("pause") // needs no AVX2: every amd64 has it
	s.Attributes(attr.NOSPLIT)
	s.SignatureExpr("func()")
	s.PAUSE()
	s.RET()
}
