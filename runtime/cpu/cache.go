package cpu

import (
	"fmt"
	"math"

	"pipe/runtime/ops"
)

// The cache holds keys and values as attend reads them: for each slot and
// head the keys in panels of nr positions, (D, nr) each, and the values in panels
// of columns, (capacity, width) each.

// AllocCache returns an empty cache. capacity is rounded up to whole panels.
func (b *Backend) AllocCache(slots, capacity, kvHeads, headDim int) (ops.Cache, error) {
	capacity = b.countPanels(capacity) * b.nr
	k, err := b.Alloc(ops.Float32, slots*kvHeads*capacity*headDim)
	if err != nil {
		return ops.Cache{}, err
	}
	v, err := b.Alloc(ops.Float32, slots*kvHeads*capacity*b.padded(headDim))
	if err != nil {
		return ops.Cache{}, err
	}
	return ops.Cache{K: k, V: v, Slots: slots, Capacity: capacity, KVHeads: kvHeads, HeadDim: headDim}, nil
}

// FreeCache frees what AllocCache returned.
func (b *Backend) FreeCache(c ops.Cache) {
	b.Free(c.K)
	b.Free(c.V)
}

// head returns the keys and values of one head of a slot.
func (b *Backend) head(c ops.Cache, slot, head int) (keys, values []float32) {
	n, at := b.padded(c.HeadDim)*c.Capacity, slot*c.KVHeads+head
	all := c.Slots * c.KVHeads * c.Capacity
	keys = floats(c.K, all*c.HeadDim, "cache: K")[at*c.HeadDim*c.Capacity:][:c.HeadDim*c.Capacity]
	values = floats(c.V, all*b.padded(c.HeadDim), "cache: V")[at*n:][:n]
	return keys, values
}

// CacheWrite stores row r of k and v as position positions[r] of slot slots[r].
func (b *Backend) CacheWrite(c ops.Cache, k, v ops.Buf, slots, positions []int32) {
	dim, width := c.HeadDim, c.KVHeads*c.HeadDim
	ks, vs := floats(k, len(slots)*width, "cache write: k"), floats(v, len(slots)*width, "cache write: v")
	for r, slot := range slots {
		position := int(positions[r])
		if position < 0 || position >= c.Capacity || slot < 0 || int(slot) >= c.Slots {
			panic(fmt.Sprintf("internal error: cpu: cache write: slot %d, position %d of %d by %d", slot, position, c.Slots, c.Capacity))
		}
		for h := range c.KVHeads {
			keys, values := b.head(c, int(slot), h)
			key, value := ks[r*width+h*dim:][:dim], vs[r*width+h*dim:][:dim]
			keys = keys[position/b.nr*b.nr*dim+position%b.nr:]
			for d, x := range key {
				keys[d*b.nr] = x
			}
			for d := 0; d < dim; d += b.nr {
				columns := min(b.nr, dim-d)
				panel, _ := b.panel(columns)
				copy(values[d*c.Capacity+position*panel:][:columns], value[d:])
			}
		}
	}
}

// cachedJob is one query a sequence. A task is a key/value head of a row, whose
// query heads are the rows of its tiles.
type cachedJob struct {
	*Backend
	out, q         []float32
	cache          ops.Cache
	slots, lengths []int32
	heads, window  int
}

// AttentionCached is Attention for one query a sequence.
func (b *Backend) AttentionCached(out, q ops.Buf, c ops.Cache, slots, lengths []int32, heads, window int) {
	j := &b.cached
	n := len(slots) * heads * c.HeadDim
	j.out, j.q = floats(out, n, "cached attention: out"), floats(q, n, "cached attention: q")
	j.cache, j.slots, j.lengths, j.heads, j.window = c, slots, lengths, heads, window
	for r, slot := range slots {
		if n := lengths[r]; n <= 0 || int(n) > c.Capacity || slot < 0 || int(slot) >= c.Slots {
			panic(fmt.Sprintf("internal error: cpu: cached attention: slot %d, length %d of %d by %d", slot, n, c.Slots, c.Capacity))
		}
	}
	b.pool.run(j, len(slots)*c.KVHeads)
	*j = cachedJob{Backend: b}
}

func (j *cachedJob) do(w *worker, task int) {
	row, kv, dim := task/j.cache.KVHeads, task%j.cache.KVHeads, j.cache.HeadDim
	keys, values := j.head(j.cache, int(j.slots[row]), kv)
	a := attend{
		kernels: j.kernels, dim: dim, window: j.window, scale: float32(1 / math.Sqrt(float64(dim))),
		keys: keys, values: values, capacity: j.cache.Capacity,
		ldq: dim, position: int(j.lengths[row]) - 1,
	}
	group := j.heads / j.cache.KVHeads
	for h := 0; h < group; h += j.mr {
		at := row*j.heads*dim + (kv*group+h)*dim
		a.rows, a.q, a.out = min(j.mr, group-h), j.q[at:], j.out[at:]
		w.reset()
		a.tile(w)
	}
}
