// Package opstest holds a backend to what package ops promises.
//
// Run compares every operation with ops.Reference, on random data and awkward
// shapes, and then holds the backend to the two laws of ops, bit for bit:
//
//  1. 1, 2, 3 and 5 workers give the same results.
//  2. A row alone, in a shorter batch, or in other company has the same bits; a
//     row of AttentionCached has those of the same row of Attention.
//
// # Tolerances
//
// A value may be off by relative·|want| + spread·rms, where rms is the root mean
// square of everything that the operation is to write to that buffer. So a sum of
// many products may be off by a part of its usual size even where the terms happen
// to cancel. (AttentionBackward may be off by as much as its spread in addition:
// with one visible position all gradients of scores cancel, and rms is 0.) Tiers
// whose name ends in "bf16" multiply matrices with operands rounded to bfloat16;
// the others compute in float32.
//
//	operation                                 float32          bf16
//	                                      relative  spread     spread
//	Linear, LinearBackward                 1e-5      1e-5       2e-2
//	Attention, AttentionCached, CacheWrite 1e-5      1e-5       2e-2
//	AttentionBackward                      1e-5      2e-5       3e-2
//	CrossEntropy                           1e-5      2e-5       2e-2
//	RMSNorm, RMSNormBackward, Rope         1e-5      2e-6       2e-6
//	SwiGLU, SwiGLUBackward                 1e-5      2e-6       2e-6
//	SquaredNorm                            1e-5      0          0
//	AdamW                                  1e-6      1e-6       1e-6
//	Add, Scale                             1e-6      0          0
//	everything else                        exact
//
// Every float32 column leaves an honest backend a factor of five or more: K
// products, K up to 1200, are summed with an error of about √K/2²⁴ of their size.
//
// Sealed wraps a backend so that nothing but Upload and Download reaches the
// elements of a buffer: for tests of the code above the seam.
package opstest
