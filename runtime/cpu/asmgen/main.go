// Command asmgen writes the amd64 assembly of package cpu, one file for each
// instruction set, and the Go declarations beside it:
//
//	go run -C asmgen .    # in runtime/cpu; go generate does it
//
// Every kernel is written once, against isa, and emitted twice: 16 lanes wide
// for AVX-512, 8 lanes wide for AVX2 with FMA. Only what the two sets do in
// different ways (rounding, masks, transposes, table look-ups) is told apart.
//
// The module is nested so that avo and what it needs stay out of the go.mod of
// pipe: the committed .s files are all that a build reads.
package main

import (
	"fmt"
	"log"
	"os"
	"regexp"
	"strings"

	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	log.SetFlags(0)
	for _, s := range []*isa{newAVX512(), newAVX2()} {
		s.tiles()
		s.transpose()
		s.nf4()
		s.vectors()
		s.attention()
		s.dropout()
		if s.lanes == 8 {
			pause(s)
		}
		if err := s.write(); err != nil {
			log.Fatalf("asmgen: %s: %v", s.name, err)
		}
	}
}

// write compiles what was emitted and writes avx512_amd64.s and .go, or avx2_….
func (s *isa) write() error {
	file, err := s.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return err
	}
	config := printer.Config{Name: "asmgen", Pkg: "cpu"}
	asm, err := printer.NewGoAsm(config).Print(file)
	if err != nil {
		return err
	}
	stubs, err := printer.NewStubs(config).Print(file)
	if err != nil {
		return err
	}
	if s.lanes == 8 {
		// The assembler would silently encode these with AVX-512.
		if reg := regexp.MustCompile(`\b[XY](1[6-9]|2\d|3[01])\b`).Find(asm); reg != nil {
			return fmt.Errorf("%s does not exist in AVX2", reg)
		}
	}
	base := "../" + strings.ToLower(s.name) + "_amd64"
	if err := os.WriteFile(base+".s", compact(asm), 0o644); err != nil {
		return err
	}
	return os.WriteFile(base+".go", stubs, 0o644)
}

// compact drops the alignment of operands, which is a third of the text.
func compact(asm []byte) []byte {
	return regexp.MustCompile(`(?m)^(\t[A-Z0-9.]+) +`).ReplaceAll(asm, []byte("$1 "))
}
