package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set that kernels are emitted for. It embeds the avo
// context that collects them.
type isa struct {
	*build.Context
	name  string
	lanes int // float32 in a vector
	bytes int // of a vector

	physical  []reg.VecPhysical // the whole register file
	function  string            // that is being emitted
	labels    int               // so far in this function
	constants map[uint32]operand.Mem
}

func newAVX512() *isa {
	s := &isa{Context: build.NewContext(), name: "AVX512", lanes: 16, bytes: 64, constants: map[uint32]operand.Mem{}}
	s.physical = []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
	s.ConstraintExpr("amd64")
	return s
}

func newAVX2() *isa {
	s := &isa{Context: build.NewContext(), name: "AVX2", lanes: 8, bytes: 32, constants: map[uint32]operand.Mem{}}
	s.physical = []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}
	s.ConstraintExpr("amd64")
	return s
}

func (s *isa) wide() bool { return s.lanes == 16 }

// begin opens a function; the name of the instruction set is appended to name.
func (s *isa) begin(name, signature string) {
	s.function, s.labels = name+s.name, 0
	s.Function(s.function)
	s.Attributes(attr.NOSPLIT)
	s.SignatureExpr(signature)
	s.Pragma("noescape")
}

func (s *isa) end() {
	s.VZEROUPPER()
	s.RET()
}

// label returns a label name that is unique in the file.
func (s *isa) label(what string) string {
	s.labels++
	return fmt.Sprintf("%s_%s%d", s.function, what, s.labels)
}

// int loads an integer parameter into a register.
func (s *isa) int(name string) reg.Register { return s.Load(s.Param(name), s.GP64()) }

// base and length load the two words of a slice parameter.
func (s *isa) base(name string) reg.Register {
	return s.Load(s.Param(name).Base(), s.GP64())
}

func (s *isa) length(name string) reg.Register {
	return s.Load(s.Param(name).Len(), s.GP64())
}

// stride loads a parameter that counts float32 and turns it into bytes.
func (s *isa) stride(name string) reg.Register {
	r := s.int(name)
	s.SHLQ(operand.Imm(2), r)
	return r
}

// vec returns a fresh vector register.
func (s *isa) vec() reg.VecVirtual {
	if s.wide() {
		return s.ZMM()
	}
	return s.YMM()
}

func (s *isa) clear(v reg.Register) {
	if s.wide() {
		s.VPXORD(v, v, v)
		return
	}
	s.VXORPS(v, v, v)
}

// spread loads a scalar float32 into all lanes.
func (s *isa) spread(m operand.Op) reg.VecVirtual {
	v := s.vec()
	s.VBROADCASTSS(m, v)
	return v
}

// param spreads a float32 parameter.
func (s *isa) param(name string) reg.VecVirtual {
	m, err := s.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return s.spread(m.Addr)
}

func at(base reg.Register, disp int) operand.Mem { return operand.Mem{Base: base, Disp: disp} }
