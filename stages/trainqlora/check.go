package trainqlora

import (
	"context"
	"errors"

	"pipe/internal/metrics"
	"pipe/runtime/train"
	"pipe/stages"
)

// check looks at the policy beside the records, where they can be had.
func check(_ context.Context, env *stages.Env, p Params, in Inputs) error {
	if in.Tokens.Path == "" {
		return nil
	}
	samples, holdOut, err := readSamples(in.Tokens.Path)
	if err != nil {
		return err
	}
	settings, plan := p.settings(len(samples)), p.plan()
	if err := errors.Join(settings.Validate(), plan.Validate(settings.Schedule, len(holdOut) > 0)); err != nil {
		return err
	}
	advise(env, plan.Advise(settings, len(samples)))
	if env.Earlier != nil {
		advise(env, plan.AdviseSpeed(tokensOf(samples), metrics.LastTiming(env.Earlier(metrics.TimingName)).TokensPerSecond))
	}
	return nil
}

func tokensOf(samples []train.Sample) int {
	n := 0
	for _, s := range samples {
		n += len(s.IDs)
	}
	return n
}

func advise(env *stages.Env, list []train.Advice) {
	for _, a := range list {
		env.Advise(stages.Remark{Message: a.Text, Hint: a.Hint, Param: a.Param})
	}
}

// speedAfter is the step from which on a training's rate is taken for typical: the
// first ones warm caches up.
const speedAfter = 5

// adviseSpeed says when the budget will not last for an epoch, once that is known.
func (s *session) adviseSpeed(r train.Report) {
	if r.Step == speedAfter {
		advise(s.env, s.params.plan().AdviseSpeed(s.epochTokens, r.TokensPerSecond))
	}
}
