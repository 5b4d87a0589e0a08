package optim

import (
	"fmt"
	"math"

	"pipe/runtime/ops"
)

// Settings are the constants of AdamW (Loshchilov & Hutter 2019).
type Settings struct {
	Beta1, Beta2 float64
	Eps          float64
	WeightDecay  float64
}

// Defaults are those of torch.optim.AdamW, but for the weight decay, which
// QLoRA does without.
var Defaults = Settings{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}

// Validate says what is wrong with s, or nothing.
func (s Settings) Validate() error {
	switch {
	case !(s.Beta1 >= 0 && s.Beta1 < 1):
		return fmt.Errorf("beta1: must be at least 0 and below 1, got %g", s.Beta1)
	case !(s.Beta2 >= 0 && s.Beta2 < 1):
		return fmt.Errorf("beta2: must be at least 0 and below 1, got %g", s.Beta2)
	case !(s.Eps > 0) || math.IsInf(s.Eps, 0):
		return fmt.Errorf("eps: must be above 0, got %g", s.Eps)
	case !(s.WeightDecay >= 0) || math.IsInf(s.WeightDecay, 0):
		return fmt.Errorf("weight_decay: must not be negative, got %g", s.WeightDecay)
	}
	return nil
}

// AdamW holds the moments of one flat buffer of parameters.
type AdamW struct {
	settings Settings
	backend  ops.Backend
	m, v     ops.Buf // first and second moments, shaped like the parameters
	norm     ops.Buf // one float32
	steps    int     // updates made
}

// NewAdamW returns an optimizer for n parameters with moments of zero. It owns
// its buffers until Free. The error is the backend's.
func NewAdamW(b ops.Backend, n int, s Settings) (*AdamW, error) {
	o := &AdamW{settings: s, backend: b}
	for _, f := range []struct {
		buf *ops.Buf
		n   int
	}{{&o.m, n}, {&o.v, n}, {&o.norm, 1}} {
		var err error
		if *f.buf, err = b.Alloc(ops.Float32, f.n); err != nil {
			o.Free()
			return nil, err
		}
	}
	return o, nil
}

// Free releases the moments.
func (o *AdamW) Free() {
	for _, buf := range []ops.Buf{o.m, o.v, o.norm} {
		if buf != nil {
			o.backend.Free(buf)
		}
	}
}

// Norm returns the L2 norm of x. It is not finite if an element of x is not. It
// waits for queued work.
func (o *AdamW) Norm(x ops.Buf) float64 {
	var sum [1]float32
	o.backend.SquaredNorm(o.norm, x)
	o.backend.Download(sum[:], o.norm)
	return math.Sqrt(float64(sum[0]))
}

// Clip returns the factor that brings gradients of the given norm down to
// highest, as torch.nn.utils.clip_grad_norm_ does: min(1, highest/(norm+1e-6)).
// highest = 0 clips nothing.
func Clip(norm, highest float64) float64 {
	if highest == 0 {
		return 1
	}
	return min(1, highest/(norm+1e-6))
}

// Step updates the parameters p from the gradients g, both as long as the
// moments, with the given learning rate. g is multiplied by gradScale (see Clip)
// before it is used and stays as it is.
func (o *AdamW) Step(p, g ops.Buf, rate, gradScale float64) {
	o.steps++
	t := float64(o.steps)
	// The bias corrections are computed in float64 and rounded once, as torch does.
	o.backend.AdamW(p, g, o.m, o.v, ops.AdamWStep{
		GradScale: float32(gradScale),
		Decay:     float32(1 - float64(rate*o.settings.WeightDecay)),
		Beta1:     float32(o.settings.Beta1),
		Beta2:     float32(o.settings.Beta2),
		StepSize:  float32(rate / (1 - math.Pow(o.settings.Beta1, t))),
		RootBias2: float32(math.Sqrt(1 - math.Pow(o.settings.Beta2, t))),
		Eps:       float32(o.settings.Eps),
	})
}

// Moments copies the first and second moments to the host.
func (o *AdamW) Moments() (m, v []float32) {
	m, v = make([]float32, o.m.Len()), make([]float32, o.v.Len())
	o.backend.Download(m, o.m)
	o.backend.Download(v, o.v)
	return m, v
}

// Restore sets the moments, each as long as the parameters, and the number of
// updates that made them.
func (o *AdamW) Restore(m, v []float32, steps int) {
	o.backend.Upload(o.m, m)
	o.backend.Upload(o.v, v)
	o.steps = steps
}
