package runner

import (
	"context"
	"sync"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline"
)

// InputUse is what an input port of a stage was connected to in a run: an output of
// another stage (From), or a Source.
type InputUse struct {
	From      string        `json:"from,omitempty"`      // "stage.port"; of what is gathered "stage[*].port"
	Source    string        `json:"source,omitempty"`    // path or reference, as the plan has it
	Files     []string      `json:"files,omitempty"`     // what is read of a folder; none is all
	At        string        `json:"at,omitempty"`        // the place in the pipeline file
	Reference string        `json:"reference,omitempty"` // where it is part of the key
	Content   *cache.Object `json:"content,omitempty"`   // nil while upstream has not made it
}

func useOf(in pipeline.Input) InputUse {
	u := InputUse{Source: in.Source, At: in.At().Place()}
	if !in.IsSource() {
		u.From = in.Output()
	} else if !pipeline.HasScheme(in.Source) {
		u.Files = in.Port.Files
	}
	return u
}

// usesOf tells of a step's inputs in events.
func usesOf(inputs []boundInput) map[string]*InputUse {
	uses := make(map[string]*InputUse, len(inputs))
	for i := range inputs {
		b := &inputs[i]
		u := useOf(b.input)
		u.Reference, u.Content = b.content.Reference, &b.content.Object
		uses[b.input.Port.Name] = &u
	}
	return uses
}

// knownUses is usesOf before a run: what no stage has made yet has no content.
func (r *Runner) knownUses(ctx context.Context, s *pipeline.Step, records map[*pipeline.Step]*cache.Record) map[string]InputUse {
	uses := make(map[string]InputUse, len(s.Inputs))
	for _, in := range s.Inputs {
		u := useOf(in)
		if in.Gathered != nil {
			if g, err := r.gather(in, records); err == nil {
				u.Content = &g.object
			}
		} else if in.From != nil {
			if record := records[in.From]; record != nil {
				if o, made := record.Outputs[in.FromPort]; made {
					u.Content = &o
				}
			}
		} else if pin, err := r.pin(ctx, in); err == nil {
			u.Reference, u.Content = pin.Reference, &pin.Object
		}
		uses[in.Port.Name] = u
	}
	return uses
}

// describeNow is the description in a step's pre-image, as it would be now: all of it
// that does not depend on what its inputs hold.
func (r *Runner) describeNow(ctx context.Context, s *pipeline.Step) cache.Value {
	env, _ := r.environment(ctx, s) // what cannot be had is missing in the answer, too
	var inputs []boundInput
	for _, in := range s.Inputs {
		inputs = append(inputs, boundInput{input: in, content: cache.InputContent{Port: in.Port.Name}})
	}
	v, err := cache.ParseValue(makePreimage(s, inputs, env))
	if err != nil {
		panic("internal error: runner: " + err.Error())
	}
	return v.(map[string]cache.Value)["description"]
}

// keptInput is the size, in bytes, up to which a workspace input of a stage that
// runs is kept in the store, so that it can be said later which of its records moved.
const keptInput = 64 << 20

// keepInputs keeps the workspace inputs, each once a run. They are for explaining: if
// that fails, the stage does not.
func (a *attempt) keepInputs(ctx context.Context) {
	for _, b := range a.inputs {
		if b.pin == nil {
			continue
		}
		if _, kept := a.runner.kept.Load(b.pin.Object); kept {
			continue
		}
		if b.pin.Keep(ctx, a.runner.Store, keptInput) == nil {
			a.runner.kept.Store(b.pin.Object, true)
		}
	}
}

// startEvent says that the stage is about to run, and what its key is made of.
func (a *attempt) startEvent(why string) Event {
	e := Event{Type: "stage_start", Stage: a.step.Name, Key: a.key.String(), Why: why, Inputs: usesOf(a.inputs), Params: a.step.Params.Places()}
	if frame, err := cache.Compress(a.preimage); err == nil {
		a.described = a.runner.aside(func() error { _, err := a.runner.Store.PutBytes(frame); return err })
		d := manifest.Sum(frame)
		e.Preimage, a.record.Preimage = &d, &d
	}
	return e
}

// describe sees to it that the pre-image is in the store. It was kept when the stage
// began, so that one that fails can be explained too, unless that failed.
func (a *attempt) describe() error {
	if a.described != nil && a.described() == nil {
		return nil
	}
	d, err := a.runner.Store.PutCompressed(a.preimage)
	a.record.Preimage = &d
	return err
}

// aside does something beside what follows, and returns what waits for its end.
func (r *Runner) aside(do func() error) (wait func() error) {
	wait = sync.OnceValue(do)
	if r.inOrder() {
		_ = wait()
	} else {
		go wait()
	}
	return wait
}
