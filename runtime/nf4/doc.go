// Package nf4 stores weights in 4 bits each, as QLoRA does: quantisation to
// NormalFloat, double quantisation of the scales, and the tensors by which
// bitsandbytes and transformers keep both on disk.
//
// # Words
//
// A block is a run of BlockSize consecutive weights of the row-major matrix; it
// may cross the end of a row, and the last block of a matrix may be short.
// absmax, the scale of a block, is its largest magnitude. A code, 0 to 15, names
// one of the 16 values of ops.NF4, the weight divided by absmax. Codes are
// packed two to a byte, the first in the high nibble; after an odd number of
// weights the last low nibble is 7.
//
// Double quantisation stores absmax itself in 8 bits: less their mean, the
// offset, in nested blocks of 256, by the signed dynamic map (DynamicMap).
//
// # The rule
//
// All arithmetic is IEEE float32, each operation rounded once to nearest even:
//
//	quantise     n = w·(1/absmax); the code is the number of thresholds below n
//	dequantise   w = NF4[code]·absmax, then rounded to the type of the source
//	restore      absmax = map[code]·nested absmax + offset, two roundings
//
// A threshold is the middle of two neighbouring values; on it n takes the lower
// code. A zero is always code 7, also in a block of nothing but zeros, whose
// absmax is 0. A short block follows the same rule as a full one.
//
// This is the documented rule of bitsandbytes' CUDA kernels, without their fast
// arithmetic. Its CPU library departs from it in ways that ordinary weights do
// not meet: in a short last block it divides by absmax, and stores 1e-38 for an
// absmax of 0; and it never divides by less than 1e-38. (Below 2^-128, where
// 1/absmax overflows, the rule here gives every weight of a block the code 0, 7
// or 15.) Its nested codes differ by a step here and there, because it rounds
// through a table.
//
// # On disk
//
// A weight P of shape (out, in) becomes, in a safetensors file:
//
//	P                                     U8   [⌈out·in/2⌉, 1]  packed codes
//	P.absmax                              F32  [blocks]         or, double, U8: nested codes
//	P.quant_map                           F32  [16]             the values of the codes
//	P.nested_absmax                       F32  [⌈blocks/256⌉]   double only
//	P.nested_quant_map                    F32  [256]            double only
//	P.quant_state.bitsandbytes__nf4       U8   [bytes]          JSON, see quantState
//
// Readers use the maps of the file: other builds of bitsandbytes wrote slightly
// different ones.
//
// Sources: Dettmers et al. 2023 (QLoRA), appendix E; bitsandbytes 0.50.2.
package nf4
