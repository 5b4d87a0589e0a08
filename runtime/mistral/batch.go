package mistral

// Batch is one or more samples, packed one behind the other. The zero value is an
// empty batch.
type Batch struct {
	IDs       []int32 // token of each row
	Positions []int32 // of each row within its sample
	Starts    []int32 // first row of each sample, and at the end the number of rows

	// Supervised are the rows whose next token is a target, rising; Targets are
	// those tokens.
	Supervised, Targets []int32
}

// Rows is the number of tokens in the batch.
func (b *Batch) Rows() int { return len(b.IDs) }

// Add appends a sample. isTarget, as long as ids or nil for none, says which
// tokens the model is to learn to write; the first token of a sample is never a
// target, since nothing comes before it.
func (b *Batch) Add(ids []int32, isTarget []bool) {
	start := int32(len(b.IDs))
	if len(b.Starts) == 0 {
		b.Starts = append(b.Starts, 0)
	}
	for i, id := range ids {
		if i > 0 && isTarget != nil && isTarget[i] {
			b.Supervised = append(b.Supervised, start+int32(i)-1)
			b.Targets = append(b.Targets, id)
		}
		b.IDs = append(b.IDs, id)
		b.Positions = append(b.Positions, int32(i))
	}
	b.Starts = append(b.Starts, int32(len(b.IDs)))
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.IDs, b.Positions, b.Starts = b.IDs[:0], b.Positions[:0], b.Starts[:0]
	b.Supervised, b.Targets = b.Supervised[:0], b.Targets[:0]
}
