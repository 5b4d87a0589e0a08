package runner

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"pipe/cache"
	"pipe/pipeline"
	"pipe/pipeline/source"
	"pipe/stages"
)

// boundInput is an input port with its content.
type boundInput struct {
	input   pipeline.Input
	content cache.InputContent
	pin     *source.Pin // of a source

	gathered *gathering // of several steps
}

// errNoOutput is the error for an optional output that its stage did not make.
type errNoOutput struct{ stage, port, why string }

func (e *errNoOutput) Error() string {
	text := fmt.Sprintf("stage %q made no output %q", e.stage, e.port)
	if e.why != "" {
		text += ": " + e.why
	}
	return text
}

// bindInputs finds the content of a step's inputs. records holds what the steps
// before made.
func (r *Runner) bindInputs(ctx context.Context, s *pipeline.Step, records map[*pipeline.Step]*cache.Record) ([]boundInput, error) {
	bound := make([]boundInput, 0, len(s.Inputs))
	for _, in := range s.Inputs {
		b := boundInput{input: in}
		switch {
		case in.Gathered != nil:
			var err error
			if b.gathered, err = r.gather(in, records); err != nil {
				return nil, err
			}
			b.content.Object = b.gathered.object
		case in.From != nil:
			o, ok := records[in.From].Outputs[in.FromPort]
			if !ok {
				return nil, &errNoOutput{in.From.Name, in.FromPort, records[in.From].Withheld}
			}
			b.content.Object = o
		default:
			pin, err := r.pin(ctx, in)
			if err != nil {
				return nil, err
			}
			b.pin = &pin
			b.content = cache.InputContent{Object: pin.Object, Reference: pin.Reference}
		}
		bound = append(bound, b)
	}
	return bound, nil
}

// pin finds a source's content, once a run for each choice of files: every stage
// of a run sees one content.
func (r *Runner) pin(ctx context.Context, in pipeline.Input) (source.Pin, error) {
	name := fmt.Sprintf("%s\x00%v\x00%v", in.Source, in.Port.Files, in.Port.Reference)
	r.pinMu.Lock()
	known, ok := r.pins[name]
	r.pinMu.Unlock()
	if ok {
		return known, nil
	}
	pin, err := r.Sources.Pin(ctx, r.Store, in.Source, in.Port.Files, in.Port.Reference)
	if err != nil {
		return pin, err
	}
	r.pinMu.Lock()
	defer r.pinMu.Unlock()
	if known, ok := r.pins[name]; ok {
		return known, nil
	}
	r.pins[name] = pin
	return pin, nil
}

// makeKey returns the key of a step and its pre-image.
func makeKey(s *pipeline.Step, inputs []boundInput, env environment) (cache.Key, []byte) {
	contents := contentsOf(inputs)
	d := describe(s.Kind, s.Params, s.Outputs, contents)
	env.addTo(&d)
	return cache.MakeKey(d, contents)
}

// contentsOf returns inputs by port.
func contentsOf(inputs []boundInput) map[string]cache.InputContent {
	contents := make(map[string]cache.InputContent, len(inputs))
	for _, in := range inputs {
		contents[in.input.Port.Name] = in.content
	}
	return contents
}

// describe returns what an action's key is made of but the content of its inputs and
// what the stage declares of the world outside.
func describe(kind *stages.Kind, params stages.Params, outputs []stages.OutputPort, contents map[string]cache.InputContent) cache.Description {
	d := cache.Description{Kind: kind.Name, Version: kind.Version, Params: params.Key(), Inputs: slices.Sorted(maps.Keys(contents))}
	for _, o := range outputs {
		form := o.Type()
		if kind.Open {
			form = "any"
		}
		d.Outputs = append(d.Outputs, [2]string{o.Name, form})
	}
	return d
}
