package mistral

import (
	"fmt"
	"math"

	"pipe/runtime/lora"
	"pipe/runtime/ops"
)

// Decoder generates greedily for several sequences at a time. Each sequence has a
// slot, with keys and values of all its tokens so far. What a sequence gets does
// not depend on the others (law 2 of package ops).
type Decoder struct {
	workspace
	slots, positions int

	shared activations // of whatever block is being computed
	last   activations // of the last block, for the rows that the head wants
	caches []ops.Cache // one a layer
	low    ops.Buf     // the adapter's x·Aᵀ, of whatever linear

	index  ops.Buf // int32 (slots)
	logits ops.Buf // (slots, V)
	next   ops.Buf // int32 (slots)
	norm   ops.Buf // one float32
}

// Next is the outcome of a step, an entry for each sequence in it.
type Next struct {
	IDs []int32 // the likeliest token; among equals the lowest
	// Finite is false where a logit is NaN or infinite; the token then means
	// nothing.
	Finite []bool
}

// NewDecoder returns a decoder with the given number of slots for sequences of up
// to positions tokens each, which prefills up to rows tokens in one call. It keeps
// m and owns its buffers until Free. The error is the backend's.
func NewDecoder(m *Model, slots, positions, rows int) (*Decoder, error) {
	c := m.Config
	rows = max(rows, slots)
	d := &Decoder{workspace: newWorkspace(m, nil, rows, positions), slots: slots, positions: positions}
	d.shared.input = d.floats(rows * c.Width)
	d.allocate(&d.shared)
	d.last = d.shared
	d.last.input, d.last.query = d.floats(slots*c.Width), d.floats(slots*c.Heads*c.HeadDim)
	d.index, d.next, d.norm = d.ints(slots), d.ints(slots), d.floats(1)
	d.logits = d.floats(slots * c.Vocabulary)
	for range c.Layers {
		if d.err != nil {
			break
		}
		var cache ops.Cache
		if cache, d.err = d.backend.AllocCache(slots, positions, c.KVHeads, c.HeadDim); d.err == nil {
			d.caches = append(d.caches, cache)
		}
	}
	if d.err != nil {
		d.Free()
		return nil, fmt.Errorf("buffers for %d sequences of %d tokens: %w", slots, positions, d.err)
	}
	return d, nil
}

// DecoderBytes is the memory that a Decoder takes on the backend, for an adapter
// of the given rank.
func (c Config) DecoderBytes(slots, positions, rows, rank int) int64 {
	rows = max(rows, slots)
	query, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	row := 2 + 3*c.Width + 3*c.FeedForward + 2*query + 2*kv + rank
	slot := c.Width + query + 2 + c.Vocabulary + 2*c.Layers*positions*kv
	return 4 * (int64(rows)*int64(row) + int64(slots)*int64(slot) + int64(positions*c.HeadDim) + 1)
}

// Free releases the decoder's buffers, not the model's or the adapter's.
func (d *Decoder) Free() {
	for _, c := range d.caches {
		d.backend.FreeCache(c)
	}
	if d.low != nil {
		d.backend.Free(d.low)
	}
	d.free()
}

// Slots and Positions are the number of sequences and the highest number of tokens
// of one.
func (d *Decoder) Slots() int     { return d.slots }
func (d *Decoder) Positions() int { return d.positions }

// Rows is the highest number of tokens that one Prefill takes.
func (d *Decoder) Rows() int { return d.capacity }

// Use makes a the adapter of what follows; nil is the bare base. Sequences that
// were begun with another one must not be continued. The error is the backend's.
func (d *Decoder) Use(a *lora.Adapter) error {
	if need := d.capacity * a.Rank(); need > 0 && (d.low == nil || d.low.Len() < need) {
		low, err := d.backend.Alloc(ops.Float32, need)
		if err != nil {
			return err
		}
		if d.low != nil {
			d.backend.Free(d.low)
		}
		d.low = low
		for l := range d.shared.low {
			d.shared.low[l], d.last.low[l] = low, low
		}
	}
	d.adapter = a
	return nil
}

// Prefill begins a sequence in each of slots, which it overwrites, with the prompt
// of the same index, and returns what follows it. The prompts, none of them
// empty, have at most Rows tokens together.
func (d *Decoder) Prefill(prompts [][]int32, slots []int32) Next {
	var batch Batch
	var rowSlots, ends, lengths []int32
	for i, prompt := range prompts {
		batch.Add(prompt, nil)
		for range prompt {
			rowSlots = append(rowSlots, slots[i])
		}
		ends = append(ends, int32(batch.Rows()-1))
		lengths = append(lengths, int32(len(prompt)))
	}
	if batch.Rows() > d.capacity || len(prompts) > d.slots {
		panic(fmt.Sprintf("internal error: mistral: prefill of %d prompts, %d tokens", len(prompts), batch.Rows()))
	}
	b, c, a := d.backend, &d.model.Config, &d.shared
	shape := c.attention(batch.Starts)
	d.embed(a.input, batch.IDs, batch.Positions)
	for i, cache := range d.caches {
		d.project(i, a)
		b.CacheWrite(cache, a.key, a.value, rowSlots, batch.Positions)
		if i+1 < len(d.caches) {
			b.Attention(a.context, nil, a.query, a.key, a.value, shape)
			d.finish(a.input, i, a)
		}
	}
	// From the last block only the last row of each prompt is wanted. Its query
	// meets the keys in the cache, which gives the same bits.
	index := d.index.Slice(0, len(ends))
	b.Upload(index, ends)
	b.GatherRows(d.last.input, a.input, index, c.Width)
	b.GatherRows(d.last.query, a.query, index, c.Heads*c.HeadDim)
	d.rows = len(ends)
	i := len(d.caches) - 1
	b.AttentionCached(d.last.context, d.last.query, d.caches[i], slots, lengths, c.Heads, c.Window)
	d.finish(d.last.input, i, &d.last)
	return d.choose(d.last.input)
}

// Step appends ids[i] to the sequence in slots[i], as its token number
// positions[i] (from 0), and returns what follows it. No slot occurs twice.
func (d *Decoder) Step(ids, slots, positions []int32) Next {
	b, c, a := d.backend, &d.model.Config, &d.shared
	lengths := make([]int32, len(positions))
	for i, p := range positions {
		lengths[i] = p + 1
	}
	d.embed(a.input, ids, positions)
	for i, cache := range d.caches {
		d.project(i, a)
		b.CacheWrite(cache, a.key, a.value, slots, positions)
		b.AttentionCached(a.context, a.query, cache, slots, lengths, c.Heads, c.Window)
		d.finish(a.input, i, a)
	}
	return d.choose(a.input)
}

// choose runs the head over d.rows rows of x and takes the likeliest tokens. It
// waits for queued work.
func (d *Decoder) choose(x ops.Buf) Next {
	b, c := d.backend, &d.model.Config
	logits := d.cut(d.logits, c.Vocabulary)
	b.RMSNorm(d.normed, x, d.model.norm, d.rows, c.Width, c.NormEps)
	b.Linear(logits, d.normed, d.rows, d.model.head, nil)
	b.Argmax(d.next, logits, d.rows, c.Vocabulary)
	next := Next{IDs: make([]int32, d.rows), Finite: make([]bool, d.rows)}
	b.Download(next.IDs, d.cut(d.next, 1))
	all := d.isFinite(logits)
	for i := range next.Finite {
		next.Finite[i] = all || d.isFinite(logits.Slice(i*c.Vocabulary, (i+1)*c.Vocabulary))
	}
	return next
}

// isFinite says whether all elements of x are finite; squares that overflow count
// as infinite.
func (d *Decoder) isFinite(x ops.Buf) bool {
	var sum [1]float32
	d.backend.SquaredNorm(d.norm, x)
	d.backend.Download(sum[:], d.norm)
	return !math.IsNaN(float64(sum[0])) && !math.IsInf(float64(sum[0]), 0)
}
