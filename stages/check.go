package stages

import (
	"context"
	"fmt"
	"reflect"
)

// Remark is what a kind points at: well formed, and yet it makes no sense, or not
// what somebody who set it is likely to want.
type Remark struct {
	// Message says what makes no sense, with the values: lower case, no full stop.
	Message string
	Hint    string // what would make sense; may be empty
	// Param is the parameter that it is about, "health.healthy.epoch"; else Port is
	// the input, if it is about one.
	Param, Port string
	// File and Line are the place in an input, if it has one. File is a path that the
	// kind was given, or one below.
	File string
	Line int
}

// Advise passes a remark on: in a check to whoever asked, in a run to the log.
func (e *Env) Advise(r Remark) {
	if e.OnRemark != nil {
		e.OnRemark(r)
		return
	}
	var fields []any
	if r.Hint != "" {
		fields = []any{"hint", r.Hint}
	}
	e.Log.Warn(r.Message, fields...)
}

// Checked gives the kind a look at its parameters and inputs before anything runs:
// check calls env.Advise for what makes no sense, and returns an error if the stage
// is bound to fail. Of env it has Advise alone. Of inputs it finds those that lie in
// the workspace and those that stages of Quick kinds make of them; the others are
// Pending. P and I are those of Define.
func Checked[P, I any](k *Kind, check func(ctx context.Context, env *Env, p P, in I) error) *Kind {
	if k.params != reflect.TypeFor[P]() {
		panic(fmt.Sprintf("internal error: %s is checked with parameters of another kind", k.Name))
	}
	k.check = func(ctx context.Context, env *Env, c Call) error {
		var in I
		fillInputs(reflect.ValueOf(&in).Elem(), c.Inputs)
		return check(ctx, env, *c.Params.(*P), in)
	}
	return k
}

// Quick says that the kind takes no more than a moment for a megabyte of input and
// loads no model. A check runs its stages, in a folder of its own, to see what the
// stages behind them will get; what they advise in doing so is their advice.
func (k *Kind) Quick() *Kind {
	k.quick = true
	return k
}

// IsQuick says whether a check may run the kind.
func (k *Kind) IsQuick() bool { return k.quick }

// HasCheck says whether the kind was given a check by Checked.
func (k *Kind) HasCheck() bool { return k.check != nil }

// Check does what Checked was given.
func (k *Kind) Check(ctx context.Context, env *Env, p Params, inputs map[string]Input) error {
	return k.check(ctx, env, Call{Params: p.value, Inputs: inputs})
}
