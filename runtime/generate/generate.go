// Package generate answers prompts greedily, many at a time.
//
// # Words
//
// A prompt is a list of tokens that an answer continues. A slot is a place in the
// batch with a cache of its own; a sequence is a prompt with the tokens of its
// answer so far, in a slot. Prefill runs a prompt through the model in one go and
// gives the answer's first token; each step after that appends a token to every
// active sequence. A slot whose answer has ended takes the next prompt of the
// queue, so that long answers hold nobody up.
//
// An answer never depends on what else is in the batch, on the number of slots or
// on the order of the prompts: every row of every operation is computed on its
// own (law 2 of package ops), bit for bit.
package generate

import (
	"context"
	"fmt"
	"slices"

	"pipe/runtime/lora"
	"pipe/runtime/mistral"
)

// prefillRows is how many tokens of prompts are run through the model at a time:
// enough to keep any processor busy, at a few megabytes for a small model.
const prefillRows = 512

// Generator answers prompts with one model. It is used by one goroutine at a time.
type Generator struct {
	model     *mistral.Model
	decoder   *mistral.Decoder
	positions int
}

// New returns a generator with the given number of slots, for prompts and answers of
// up to positions tokens together. It keeps m and owns its buffers until Free. The
// error is the backend's, or that the model was made for fewer positions.
func New(m *mistral.Model, slots, positions int) (*Generator, error) {
	if positions > m.Config.Positions {
		return nil, fmt.Errorf("prompts and answers of %d tokens: the base was made for up to %d", positions, m.Config.Positions)
	}
	if slots < 1 || positions < 1 {
		return nil, fmt.Errorf("%d slots of %d tokens: must be at least 1 of 1", slots, positions)
	}
	rows := max(positions, min(prefillRows, slots*positions))
	d, err := mistral.NewDecoder(m, slots, positions, rows)
	if err != nil {
		return nil, err
	}
	return &Generator{model: m, decoder: d, positions: positions}, nil
}

// Free releases the generator's buffers, not the model's.
func (g *Generator) Free() { g.decoder.Free() }

// Options say how to answer.
type Options struct {
	MaxNewTokens int     // an answer has at most so many tokens
	Stop         []int32 // tokens that end an answer; they are not part of it

	// OnToken, if not nil, is called for every token as it comes: those of one
	// prompt (by its index) in order, those of several mixed.
	OnToken func(prompt int, id int32)
	// OnAnswer, if not nil, is called for every answer as it ends, in no order. The
	// answer's tokens are the generator's until Generate returns.
	OnAnswer func(prompt int, a Answer)
}

// End says what ended an answer.
type End string

const (
	Stopped   End = "stop"       // a stop token
	TooLong   End = "length"     // MaxNewTokens, or no positions are left
	NotFinite End = "not finite" // logits that are NaN or infinite: the model is broken
)

// Answer is what a prompt got.
type Answer struct {
	IDs []int32
	End End // "" if the work was cancelled before
}

// Generate answers prompts with adapter, or the bare base if it is nil. The answers
// are in the order of the prompts. An error names a prompt that cannot be taken, is
// the backend's, or is ctx's, looked at between steps; with the latter two the
// answers are as far as they came.
func (g *Generator) Generate(ctx context.Context, prompts [][]int32, adapter *lora.Adapter, o Options) ([]Answer, error) {
	for i, prompt := range prompts {
		if err := g.check(prompt); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	if err := g.decoder.Use(adapter); err != nil {
		return nil, err
	}
	r := &run{generator: g, options: o, prompts: prompts, answers: make([]Answer, len(prompts))}
	for slot := range g.decoder.Slots() {
		r.free = append(r.free, int32(slot))
	}
	return r.answers, r.all(ctx)
}

func (g *Generator) check(prompt []int32) error {
	if len(prompt) == 0 {
		return fmt.Errorf("it is empty")
	}
	if len(prompt) > g.positions {
		return fmt.Errorf("%d tokens, there is room for %d", len(prompt), g.positions)
	}
	for i, id := range prompt {
		if id < 0 || int(id) >= g.model.Config.Vocabulary {
			return fmt.Errorf("token %d is %d, the base has %d", i, id, g.model.Config.Vocabulary)
		}
	}
	return nil
}

// run is one Generate in progress.
type run struct {
	generator *Generator
	options   Options
	prompts   [][]int32
	answers   []Answer

	next   int        // the first prompt of the queue
	active []sequence // in the order in which they began
	free   []int32    // slots
}

// sequence is a prompt that is being answered.
type sequence struct {
	prompt int
	slot   int32
	length int32 // tokens in the cache
	last   int32 // the token that comes next into it
}

func (r *run) all(ctx context.Context) error {
	d, sync := r.generator.decoder, r.generator.model.Backend().Sync
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case r.shouldBegin():
			begun, prompts, slots := r.begin()
			r.accept(begun, d.Prefill(prompts, slots))
		case len(r.active) > 0:
			ids, slots, positions := r.inputs()
			stepped := r.active
			r.active = r.active[:0] // accept writes no further than it has read
			r.accept(stepped, d.Step(ids, slots, positions))
		default:
			return nil
		}
		if err := sync(); err != nil {
			return err
		}
	}
}

// shouldBegin says whether prompts are to be taken from the queue: not one by one,
// since a small prefill costs nearly as much as a large one, but when a quarter of
// the slots is free.
func (r *run) shouldBegin() bool {
	waiting := len(r.prompts) - r.next
	return waiting > 0 && len(r.free) > 0 && (len(r.active) == 0 || 4*len(r.free) >= r.generator.decoder.Slots())
}

// begin gives free slots to as many prompts of the queue as one prefill takes.
func (r *run) begin() (begun []sequence, prompts [][]int32, slots []int32) {
	rows := r.generator.decoder.Rows()
	for r.next < len(r.prompts) && len(r.free) > 0 {
		prompt := r.prompts[r.next]
		if rows -= len(prompt); rows < 0 {
			break
		}
		slot := r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
		begun = append(begun, sequence{prompt: r.next, slot: slot, length: int32(len(prompt))})
		prompts, slots = append(prompts, prompt), append(slots, slot)
		r.next++
	}
	return begun, prompts, slots
}

// inputs are what the next step takes of the active sequences, whose last tokens
// enter the cache by it.
func (r *run) inputs() (ids, slots, positions []int32) {
	for i := range r.active {
		s := &r.active[i]
		ids, slots, positions = append(ids, s.last), append(slots, s.slot), append(positions, s.length)
		s.length++
	}
	return ids, slots, positions
}

// accept takes what follows the given sequences. Those that go on become active.
func (r *run) accept(sequences []sequence, next mistral.Next) {
	for i, s := range sequences {
		s.last = next.IDs[i]
		if end := r.take(s, next.Finite[i]); end != "" {
			r.answers[s.prompt].End = end
			if r.options.OnAnswer != nil {
				r.options.OnAnswer(s.prompt, r.answers[s.prompt])
			}
			r.free = append(r.free, s.slot)
			continue
		}
		r.active = append(r.active, s)
	}
}

// take adds a sequence's last token to its answer and says what ends it, if
// anything does.
func (r *run) take(s sequence, finite bool) End {
	a := &r.answers[s.prompt]
	switch {
	case len(a.IDs) >= r.options.MaxNewTokens:
		return TooLong
	case !finite:
		return NotFinite
	case slices.Contains(r.options.Stop, s.last):
		return Stopped
	}
	a.IDs = append(a.IDs, s.last)
	if r.options.OnToken != nil {
		r.options.OnToken(s.prompt, s.last)
	}
	if len(a.IDs) == r.options.MaxNewTokens || int(s.length) == r.generator.positions {
		return TooLong
	}
	return ""
}
