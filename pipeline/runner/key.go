package runner

import (
	"context"
	"fmt"

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
		b := boundInput{input: in, content: cache.InputContent{Port: in.Port.Name}}
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
			b.content.Object, b.content.Reference = pin.Object, pin.Reference
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

// makeKey returns the key of a step.
func makeKey(s *pipeline.Step, inputs []boundInput, env environment) cache.Key {
	var room [8]cache.InputContent // which need not leave the stack
	return cache.MakeKey(describe(s, env), contentsOf(room[:0], inputs))
}

// makePreimage returns what the key of a step is made of.
func makePreimage(s *pipeline.Step, inputs []boundInput, env environment) []byte {
	return cache.Preimage(describe(s, env), contentsOf(nil, inputs))
}

// contentsOf appends what is at inputs.
func contentsOf(contents []cache.InputContent, inputs []boundInput) []cache.InputContent {
	for i := range inputs {
		contents = append(contents, inputs[i].content)
	}
	return contents
}

// describe returns what an action's key is made of but its inputs.
func describe(s *pipeline.Step, env environment) cache.Description {
	d := describeKind(s.Kind, s.Params, s.Outputs)
	env.addTo(&d)
	return d
}

// describeKind is describe but for what the stage declares of the world outside.
func describeKind(kind *stages.Kind, params stages.Params, outputs []stages.OutputPort) cache.Description {
	d := cache.Description{Kind: kind.Name, Version: kind.Version, Params: params.Key(), Outputs: make([][2]string, 0, len(outputs))}
	for _, o := range outputs {
		form := o.Type()
		if kind.Open {
			form = "any"
		}
		d.Outputs = append(d.Outputs, [2]string{o.Name, form})
	}
	return d
}
