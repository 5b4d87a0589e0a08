package ops

// Type is the type of a buffer's elements.
type Type uint8

const (
	Float32 Type = iota + 1
	Int32
	Uint8
)

func (t Type) String() string {
	switch t {
	case Float32:
		return "float32"
	case Int32:
		return "int32"
	case Uint8:
		return "uint8"
	}
	return "unknown"
}

// Buf is a run of elements in a backend's memory. Only the backend that made it
// can read it.
type Buf interface {
	// Len is the number of elements.
	Len() int
	Type() Type
	// Slice is the elements [lo, hi), sharing memory with the whole. A slice
	// must not be freed.
	Slice(lo, hi int) Buf
}

// Weight is the frozen matrix W of a linear layer, of shape (Out, In): the layer
// computes y = x·Wᵀ. Either Dense is set, or Codes and Absmax are.
type Weight struct {
	Out, In int

	// Dense holds Out*In float32 values, row-major.
	Dense Buf

	// Codes holds ⌈Out*In/2⌉ bytes: NF4 codes of the row-major weights, two to a
	// byte, the first weight in the high nibble. Absmax holds one float32 scale
	// for each run of 64 consecutive weights (⌈Out*In/64⌉; a run may cross the end
	// of a row). Double quantisation is already undone. Weight i is
	// NF4[code i] * Absmax[i/64], one rounding.
	Codes, Absmax Buf

	// BFloat16 rounds every dequantised weight to bfloat16 (nearest even), as
	// bitsandbytes does when the base was stored with dtype bfloat16.
	BFloat16 bool
}

// BlockSize is the number of weights that share one scale in a Weight.
const BlockSize = 64

// LoRA is the low-rank path of one linear layer:
// y += Scale · (drop(x)·Aᵀ)·Bᵀ (Hu et al. 2021).
type LoRA struct {
	Rank  int
	Scale float32 // alpha / rank

	A Buf // (Rank, In)
	B Buf // (Out, Rank)

	// U, (rows, Rank), receives drop(x)·Aᵀ in Linear and is read by
	// LinearBackward. It may be longer than rows*Rank.
	U Buf

	// GradA and GradB, shaped like A and B, are added to by LinearBackward.
	GradA, GradB Buf

	Dropout Dropout
}

// Dropout drops elements of a layer's input by a counter: element (row, col) is
// dropped if Dropped(Seed, FirstRow+row, col, P) says so, else multiplied by
// 1/(1-P). P = 0 drops nothing and reads no counter.
type Dropout struct {
	P        float32
	Seed     uint64
	FirstRow int
}

// AttentionShape says how rows are split into heads and samples.
type AttentionShape struct {
	Heads, KVHeads, HeadDim int

	// Window is how many positions a query sees, itself included; 0 is all
	// earlier ones.
	Window int

	// Starts are the first rows of the samples, and at the end the number of
	// rows: sample s is rows Starts[s] up to Starts[s+1]-1. A query sees only
	// its own sample, at and before itself.
	Starts []int32
}

// Cache holds the keys and values of one layer for Slots sequences of up to
// Capacity positions. How K and V are laid out is the backend's own affair.
type Cache struct {
	K, V                              Buf
	Slots, Capacity, KVHeads, HeadDim int
}

// AdamWStep holds the scalars of one AdamW update (Loshchilov & Hutter 2019, in
// the order of operations of torch.optim.AdamW):
//
//	g' = GradScale·g
//	p  = Decay·p
//	m  = Beta1·m + (1-Beta1)·g'
//	v  = Beta2·v + (1-Beta2)·g'²
//	p  = p - StepSize·m / (√v/RootBias2 + Eps)
type AdamWStep struct {
	GradScale float32
	Decay     float32 // 1 - learning rate · weight decay
	Beta1     float32
	Beta2     float32
	StepSize  float32 // learning rate / (1 - Beta1^t)
	RootBias2 float32 // √(1 - Beta2^t)
	Eps       float32
}

// Backend owns memory and computes. A backend is used by one goroutine at a
// time; it may spread the work of one call over several. Operations may be
// queued: their results are there after Sync or Download.
//
// Destination and source must not overlap except where an operation says that
// it works in place.
type Backend interface {
	// Name is the device: "cpu", "cuda", "reference".
	Name() string
	// Tier names the arithmetic: two backends of one tier and Version give the
	// same bits. "avx512", "avx2", "go", "reference".
	Tier() string

	// Alloc returns n zeroed elements.
	Alloc(t Type, n int) (Buf, error)
	Free(b Buf)
	// Upload copies src, a []float32, []int32 or []uint8 of dst.Len elements.
	Upload(dst Buf, src any)
	// Download copies src into dst, a slice like Upload's. It waits for queued work.
	Download(dst any, src Buf)
	// Sync waits for queued work and returns the first error of it.
	Sync() error
	// Close frees everything. The backend must not be used after it.
	Close()

	// Embed copies row ids[i] of table (V, width) to row i of out.
	Embed(out, table, ids Buf, width int)

	// Linear computes y (rows, Out) = x (rows, In)·Wᵀ, plus the low-rank path if l
	// is not nil.
	Linear(y, x Buf, rows int, w Weight, l *LoRA)
	// LinearBackward computes dx = dy·W plus the low-rank path's part; with
	// accumulate dx is added to; dx may be nil. It adds to l.GradA and l.GradB:
	//
	//	GradB += Scale · dyᵀ·U
	//	GradA += Scale · (dy·B)ᵀ·drop(x)
	//
	// x is what Linear was given; with l == nil it is not read. W has no gradient.
	LinearBackward(dx, dy, x Buf, rows int, w Weight, l *LoRA, accumulate bool)

	// RMSNorm computes y = weight · x/√(mean(x²)+eps), row by row (Zhang &
	// Sennrich 2019).
	RMSNorm(y, x, weight Buf, rows, width int, eps float32)
	// RMSNormBackward adds the gradient of x to dx. weight is frozen.
	RMSNormBackward(dx, dy, x, weight Buf, rows, width int, eps float32)

	// Rope rotates x (rows, heads·headDim) in place by the position of each row:
	// halves of a head, not neighbouring pairs (GPT-NeoX layout). table is
	// (positions, headDim): the cosines of a position's headDim/2 angles, then
	// their sines. inverse rotates back: it is the gradient.
	Rope(x, table, positions Buf, rows, heads, headDim int, inverse bool)

	// Attention computes out (rows, H·D) = softmax(q·kᵀ/√D)·v for q (rows, H·D) and
	// k, v (rows, K·D). Query head h reads key/value head h/(H/K). stats (rows, H)
	// receives the logarithm of each softmax's denominator, for the backward
	// pass; it may be nil.
	Attention(out, stats, q, k, v Buf, s AttentionShape)
	// AttentionBackward overwrites dq, dk and dv.
	AttentionBackward(dq, dk, dv, dout, out, stats, q, k, v Buf, s AttentionShape)

	// AllocCache returns an empty cache. capacity is rounded up as the backend
	// likes.
	AllocCache(slots, capacity, kvHeads, headDim int) (Cache, error)
	FreeCache(c Cache)
	// CacheWrite stores row r of k and v (rows, K·D) as position positions[r] of
	// slot slots[r].
	CacheWrite(c Cache, k, v Buf, slots, positions []int32)
	// AttentionCached is Attention for one query a sequence: row r of q sees
	// positions 0 up to lengths[r]-1 of slot slots[r], within the window. Its
	// bits are those of the same row in Attention.
	AttentionCached(out, q Buf, c Cache, slots, lengths []int32, heads, window int)

	// SwiGLU computes h = silu(gate)·up over all elements.
	SwiGLU(h, gate, up Buf)
	// SwiGLUBackward overwrites dgate and dup.
	SwiGLUBackward(dgate, dup, dh, gate, up Buf)

	// CrossEntropy measures row i of x (rows, In), as hidden states before the
	// output layer w, against targets[i]: loss[i] = -log p(target), entropy[i] =
	// -Σ p·log p in nats, correct[i] = 1 if the target has the highest logit
	// (among equals, the lowest id counts), else 0. If dx is not nil it receives
	// scale · ∂Σloss/∂x. Logits are never kept for all rows and the whole
	// vocabulary at once.
	CrossEntropy(dx, loss, entropy, correct, x, targets Buf, rows int, w Weight, scale float32)

	// Argmax gives out[i], an int32, the column of the largest element of row i
	// of x (rows, width); among equals the lowest.
	Argmax(out, x Buf, rows, width int)

	// Add computes dst += src.
	Add(dst, src Buf)
	// Scale computes x *= f.
	Scale(x Buf, f float32)
	// Fill sets every element of a float32 buffer.
	Fill(x Buf, value float32)
	// GatherRows copies row index[i] of src to row i of dst.
	GatherRows(dst, src, index Buf, width int)
	// ScatterRows copies row i of src to row index[i] of dst; no index twice.
	ScatterRows(dst, src, index Buf, width int)

	// SquaredNorm sets out, one float32, to the sum of the squares of x. It is
	// not finite if an element is not.
	SquaredNorm(out, x Buf)
	// AdamW updates p, m and v, in place, from the gradient g.
	AdamW(p, g, m, v Buf, step AdamWStep)
}

// Dropped says whether dropout with probability p drops element (row, col) of
// the stream named seed. It is a pure function, so that the backward pass drops
// what the forward pass dropped, in any order of evaluation.
func Dropped(seed uint64, row, col int, p float32) bool {
	// SplitMix64 (Steele, Lea & Flood 2014) of the element's number.
	z := seed + 0x9e3779b97f4a7c15*(uint64(row)<<32+uint64(uint32(col))+1)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float32(z>>40)*(1.0/(1<<24)) < p
}
