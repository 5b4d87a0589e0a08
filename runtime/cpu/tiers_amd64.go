package cpu

import "golang.org/x/sys/cpu"

// tiers lists the kernels that this processor can run, fastest first. The
// features are those that the generated files name under "Requires".
func tiers() []*kernels {
	x := &cpu.X86
	var have []*kernels
	haswell := x.HasAVX2 && x.HasFMA && x.HasBMI2
	if haswell && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
		have = append(have, &avx512)
	}
	if haswell {
		have = append(have, &avx2)
	}
	return append(have, &portable)
}

var avx512 = kernels{
	tier: "avx512",
	mr:   14, nr: 32, narrow: 16, kc: 512,
	full: []tile{nil, tile1x32AVX512, tile2x32AVX512, tile3x32AVX512, tile4x32AVX512, tile5x32AVX512, tile6x32AVX512, tile7x32AVX512,
		tile8x32AVX512, tile9x32AVX512, tile10x32AVX512, tile11x32AVX512, tile12x32AVX512, tile13x32AVX512, tile14x32AVX512},
	half: []tile{nil, tile1x16AVX512, tile2x16AVX512, tile3x16AVX512, tile4x16AVX512, tile5x16AVX512, tile6x16AVX512, tile7x16AVX512,
		tile8x16AVX512, tile9x16AVX512, tile10x16AVX512, tile11x16AVX512, tile12x16AVX512, tile13x16AVX512, tile14x16AVX512},
	lanes: 16, transpose: transposeAVX512,

	exp: expAVX512, add: addAVX512, scale: scaleAVX512, dot: dotAVX512, dot3: dot3AVX512, max: maxAVX512,
	norm: normAVX512, normGrad: normGradAVX512, rope: ropeAVX512,
	swiglu: swigluAVX512, swigluGrad: swigluGradAVX512, adamw: adamwAVX512,
	expSum: expSumAVX512, dropout: dropoutAVX512,
	softmax: softmaxAVX512, attentionGrad: attentionGradAVX512,
	nf4Columns: nf4ColumnsAVX512, nf4Rows: nf4RowsAVX512,
}

var avx2 = kernels{
	tier: "avx2",
	mr:   6, nr: 16, narrow: 16, kc: 256,
	full:  []tile{nil, tile1x16AVX2, tile2x16AVX2, tile3x16AVX2, tile4x16AVX2, tile5x16AVX2, tile6x16AVX2},
	half:  []tile{nil, tile1x16AVX2, tile2x16AVX2, tile3x16AVX2, tile4x16AVX2, tile5x16AVX2, tile6x16AVX2},
	lanes: 8, transpose: transposeAVX2,

	exp: expAVX2, add: addAVX2, scale: scaleAVX2, dot: dotAVX2, dot3: dot3AVX2, max: maxAVX2,
	norm: normAVX2, normGrad: normGradAVX2, rope: ropeAVX2,
	swiglu: swigluAVX2, swigluGrad: swigluGradAVX2, adamw: adamwAVX2,
	expSum: expSumAVX2, dropout: dropoutAVX2,
	softmax: softmaxAVX2, attentionGrad: attentionGradAVX2,
	nf4Columns: nf4ColumnsAVX2, nf4Rows: nf4RowsAVX2,
}
