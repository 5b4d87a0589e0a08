package cpu

import (
	"math"
	"math/bits"
	"unsafe"
)

// portable is the tier in plain Go. A product that is added to is written
// float32(a*b)+c throughout, which keeps the compiler from fusing the two: the
// bits are the same on every architecture.
var portable = kernels{
	tier: "go",
	mr:   2, nr: 4, narrow: 4, kc: 256,
	full: []tile{nil, tile1x4, tile2x4},
	half: []tile{nil, tile1x4, tile2x4},

	lanes:     4,
	transpose: transposeGo,

	exp: expGo, add: addGo, scale: scaleGo, dot: dotGo, dot3: dot3Go, max: maxGo,
	norm: normGo, normGrad: normGradGo, rope: ropeGo,
	swiglu: swigluGo, swigluGrad: swigluGradGo, adamw: adamwGo,
	expSum: expSumGo, dropout: dropoutGo,
	softmax: softmaxGo, attentionGrad: attentionGradGo,
}

// The tile is small because 2 by 4 sums and what they are made of just fit the 16
// vector registers of amd64, and unrolled because the compiler moves the sums to
// memory and back at the end of every turn: 4 by 4 without unrolling is three
// times slower. Offsets into a and b avoid bounds checks; pointers that move would
// end behind the memory that they come from, which the garbage collector forbids.
func tile2x4(k int, a, b *float32, ldb int, c *float32, ldc, add int) {
	var c0, c1, c2, c3, d0, d1, d2, d3 float32
	left, right := unsafe.Pointer(a), unsafe.Pointer(b)
	next := 4 * ldb
	i, j := 0, 0
	for ; k >= 4; k -= 4 {
		x := (*[8]float32)(unsafe.Add(left, i))
		y := (*[4]float32)(unsafe.Add(right, j))
		c0 += float32(x[0] * y[0])
		d0 += float32(x[1] * y[0])
		c1 += float32(x[0] * y[1])
		d1 += float32(x[1] * y[1])
		c2 += float32(x[0] * y[2])
		d2 += float32(x[1] * y[2])
		c3 += float32(x[0] * y[3])
		d3 += float32(x[1] * y[3])
		j += next
		y = (*[4]float32)(unsafe.Add(right, j))
		c0 += float32(x[2] * y[0])
		d0 += float32(x[3] * y[0])
		c1 += float32(x[2] * y[1])
		d1 += float32(x[3] * y[1])
		c2 += float32(x[2] * y[2])
		d2 += float32(x[3] * y[2])
		c3 += float32(x[2] * y[3])
		d3 += float32(x[3] * y[3])
		j += next
		y = (*[4]float32)(unsafe.Add(right, j))
		c0 += float32(x[4] * y[0])
		d0 += float32(x[5] * y[0])
		c1 += float32(x[4] * y[1])
		d1 += float32(x[5] * y[1])
		c2 += float32(x[4] * y[2])
		d2 += float32(x[5] * y[2])
		c3 += float32(x[4] * y[3])
		d3 += float32(x[5] * y[3])
		j += next
		y = (*[4]float32)(unsafe.Add(right, j))
		c0 += float32(x[6] * y[0])
		d0 += float32(x[7] * y[0])
		c1 += float32(x[6] * y[1])
		d1 += float32(x[7] * y[1])
		c2 += float32(x[6] * y[2])
		d2 += float32(x[7] * y[2])
		c3 += float32(x[6] * y[3])
		d3 += float32(x[7] * y[3])
		i, j = i+4*8, j+next
	}
	for ; k > 0; k-- {
		x, y := (*[2]float32)(unsafe.Add(left, i)), (*[4]float32)(unsafe.Add(right, j))
		c0 += float32(x[0] * y[0])
		d0 += float32(x[1] * y[0])
		c1 += float32(x[0] * y[1])
		d1 += float32(x[1] * y[1])
		c2 += float32(x[0] * y[2])
		d2 += float32(x[1] * y[2])
		c3 += float32(x[0] * y[3])
		d3 += float32(x[1] * y[3])
		i, j = i+4*2, j+next
	}
	storeRow((*[4]float32)(unsafe.Pointer(c)), [4]float32{c0, c1, c2, c3}, add)
	storeRow((*[4]float32)(unsafe.Add(unsafe.Pointer(c), 4*ldc)), [4]float32{d0, d1, d2, d3}, add)
}

func tile1x4(k int, a, b *float32, ldb int, c *float32, _, add int) {
	var c0, c1, c2, c3 float32
	left, right := unsafe.Pointer(a), unsafe.Pointer(b)
	for i := range k {
		x, y := *(*float32)(unsafe.Add(left, 4*i)), (*[4]float32)(unsafe.Add(right, 4*i*ldb))
		c0 += float32(x * y[0])
		c1 += float32(x * y[1])
		c2 += float32(x * y[2])
		c3 += float32(x * y[3])
	}
	storeRow((*[4]float32)(unsafe.Pointer(c)), [4]float32{c0, c1, c2, c3}, add)
}

func storeRow(c *[4]float32, sums [4]float32, add int) {
	if add != 0 {
		for j, v := range c {
			sums[j] += v
		}
	}
	*c = sums
}

func transposeGo(dst *float32, stride int, src *float32, ld, rows, k int) {
	if k <= 0 {
		return
	}
	width := min(4, stride)
	to := unsafe.Slice(dst, (k-1)*stride+width)
	for r := range min(rows, width) {
		for i, v := range unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(src), 4*r*ld)), k) {
			to[i*stride+r] = v
		}
	}
	for r := max(rows, 0); r < width; r++ {
		for i := range k {
			to[i*stride+r] = 0
		}
	}
}

// The exponential is 2ⁿ·eʳ with |r| <= ln(2)/2, where eʳ is a polynomial of
// degree 7 (coefficients of expf in Cephes, Moshier 1989). It is good to about
// one unit in the last place; results below 2⁻¹²⁶ are 0, and arguments above
// expHighest count as that. NaN stays NaN. The assembly computes the same.
const (
	expLowest  = -87.33654
	expHighest = 88.37626
	log2e      = 1.44269504088896341
	ln2High    = 0.693359375
	ln2Low     = -2.12194440e-4
	roundMagic = 3 << 22 // adding it rounds a float32 under 2²² to a whole number
)

func exp32(x float32) float32 {
	if x < expLowest {
		return 0
	}
	if x > expHighest {
		x = expHighest
	}
	n := float32(x*log2e) + roundMagic - roundMagic
	r := x - float32(n*ln2High)
	r -= float32(n * ln2Low)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(p*r) + 1
	p = float32(p*r) + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// log is the natural logarithm of a positive normal x. math.Log may differ
// between architectures; this does not.
func log(x float32) float64 {
	fraction, exponent := math.Frexp(float64(x))
	if fraction < math.Sqrt2/2 {
		fraction, exponent = fraction*2, exponent-1
	}
	// log m = 2·atanh((m-1)/(m+1)), by its series in s = ((m-1)/(m+1))² <= 0.0295.
	f := (fraction - 1) / (fraction + 1)
	s := float64(f * f)
	sum := 1.0 / 19
	for i := 17; i >= 1; i -= 2 {
		sum = float64(sum*s) + 1/float64(i)
	}
	return float64(2*f*sum) + float64(float64(exponent)*math.Ln2)
}

func expGo(dst, src []float32) {
	src = src[:len(dst)]
	for i, x := range src {
		dst[i] = exp32(x)
	}
}

func addGo(dst, src []float32) {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] += v
	}
}

func scaleGo(x []float32, f float32) {
	for i := range x {
		x[i] *= f
	}
}

func dotGo(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for len(a) >= 4 && len(b) >= 4 {
		s0 += float32(a[0] * b[0])
		s1 += float32(a[1] * b[1])
		s2 += float32(a[2] * b[2])
		s3 += float32(a[3] * b[3])
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += float32(v * b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

func dot3Go(a, b, c []float32) float32 {
	var s0, s1, s2, s3 float32
	b, c = b[:len(a)], c[:len(a)]
	for len(a) >= 4 && len(b) >= 4 && len(c) >= 4 {
		s0 += float32(float32(a[0]*b[0]) * c[0])
		s1 += float32(float32(a[1]*b[1]) * c[1])
		s2 += float32(float32(a[2]*b[2]) * c[2])
		s3 += float32(float32(a[3]*b[3]) * c[3])
		a, b, c = a[4:], b[4:], c[4:]
	}
	for i, v := range a {
		s0 += float32(float32(v*b[i]) * c[i])
	}
	return (s0 + s1) + (s2 + s3)
}

func maxGo(x []float32) float32 {
	m := x[0]
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func normGo(y, x, weight []float32, f float32) {
	x, weight = x[:len(y)], weight[:len(y)]
	for i, v := range x {
		y[i] = weight[i] * (v * f)
	}
}

func normGradGo(dx, dy, weight, x []float32, f, c float32) {
	dy, weight, x = dy[:len(dx)], weight[:len(dx)], x[:len(dx)]
	for i, v := range x {
		dx[i] += float32(float32(dy[i]*weight[i])*f) - float32(c*v)
	}
}

func ropeGo(x, angles []float32, sign float32) {
	half := len(angles) / 2
	cosines, sines := angles[:half], angles[half:][:half]
	for ; len(x) >= 2*half && half > 0; x = x[2*half:] {
		first, second := x[:half], x[half:][:half]
		for i, cos := range cosines {
			sin := sines[i] * sign
			a, b := first[i], second[i]
			first[i] = float32(a*cos) - float32(b*sin)
			second[i] = float32(b*cos) + float32(a*sin)
		}
	}
}

func sigmoid(x float32) float32 { return 1 / (1 + exp32(-x)) }

func swigluGo(h, gate, up []float32) {
	gate, up = gate[:len(h)], up[:len(h)]
	for i, g := range gate {
		h[i] = g * sigmoid(g) * up[i]
	}
}

func swigluGradGo(dgate, dup, dh, gate, up []float32) {
	dup, dh, gate, up = dup[:len(dgate)], dh[:len(dgate)], gate[:len(dgate)], up[:len(dgate)]
	for i, g := range gate {
		s, d := sigmoid(g), dh[i]
		ds := d * s
		dup[i] = ds * g
		dgate[i] = ds * up[i] * (float32(g*(1-s)) + 1)
	}
}

// adamwGo follows the order of operations of ops.AdamWStep, each rounded, so
// that every tier gives the bits of the reference. step is in the order of its
// fields, but with 1-Beta1 and 1-Beta2 behind their factors.
func adamwGo(p, g, m, v []float32, step *[9]float32) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	for i := range p {
		grad := step[0] * g[i]
		m[i] = float32(step[2]*m[i]) + float32(step[3]*grad)
		v[i] = float32(step[4]*v[i]) + float32(float32(step[5]*grad)*grad)
		root := float32(math.Sqrt(float64(v[i])))
		p[i] = float32(step[1]*p[i]) - float32(step[6]*m[i])/(root/step[7]+step[8])
	}
}

func expSumGo(x []float32, highest float32) (sum, weighted float32) {
	for i, v := range x {
		d := v - highest
		e := exp32(d)
		x[i] = e
		sum += e
		weighted += float32(e * d)
	}
	return sum, weighted
}

// gamma is the distance between the counters of two neighbours, and the rest of
// the hash is that of ops.Dropped.
const gamma = 0x9e3779b97f4a7c15

func dropoutGo(dst, src []float32, counter, threshold uint64, keep float32) {
	src = src[:len(dst)]
	for i, v := range src {
		z := counter
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		// The borrow is set, and the mask 0, where z is under the threshold.
		_, dropped := bits.Sub64(z, threshold, 0)
		dst[i] = math.Float32frombits(math.Float32bits(v*keep) & (uint32(dropped) - 1))
		counter += gamma
	}
}

func softmaxGo(scores *float32, stride, panels int) (highest, sum float32) {
	s := unsafe.Slice(scores, (panels-1)*stride+4)
	highest = s[0]
	for p := range panels {
		for _, v := range s[p*stride:][:4] {
			if v > highest {
				highest = v
			}
		}
	}
	var sums [4]float32
	for p := range panels {
		row := s[p*stride:][:4]
		for i, v := range row {
			row[i] = exp32(v - highest)
			sums[i] += row[i]
		}
	}
	return highest, (sums[0] + sums[1]) + (sums[2] + sums[3])
}

func attentionGradGo(scores, dp *float32, rows int, stats, deltas *float32, scale float32) {
	s, d := unsafe.Slice(scores, rows*4), unsafe.Slice(dp, rows*4)
	stat, delta := unsafe.Slice(stats, rows), unsafe.Slice(deltas, rows)
	for r := range rows {
		for i := r * 4; i < r*4+4; i++ {
			p := exp32(s[i] - stat[r])
			s[i] = p
			d[i] = p * (d[i] - delta[r]) * scale
		}
	}
}
