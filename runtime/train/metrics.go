package train

import (
	"fmt"

	"pipe/runtime/mistral"
)

// Figures are means over supervised tokens.
type Figures struct {
	Loss       float64 `json:"loss"`     // nats a token
	Accuracy   float64 `json:"accuracy"` // share of targets that were the likeliest token
	Entropy    float64 `json:"entropy"`  // of the predicted distribution, nats
	Supervised int     `json:"supervised_tokens"`
}

// Metrics describe one step. All but LearningRate are from before its update.
type Metrics struct {
	Step  int     `json:"step"`  // the first is 1
	Epoch float64 `json:"epoch"` // epochs made with this step; 0.5 is half of the first
	Figures

	// MeanTokenAccuracy is the unweighted mean over micro-batches, as TRL logs it.
	MeanTokenAccuracy float64 `json:"mean_token_accuracy"`
	GradNorm          float64 `json:"grad_norm"` // L2, before clipping
	LearningRate      float64 `json:"learning_rate"`
	Tokens            int     `json:"tokens"`     // of this step, supervised or not
	TotalTokens       int     `json:"num_tokens"` // of all steps so far
}

// NonFiniteError says that a step gave a NaN or an infinity. Its update was not
// made or was taken back: the adapter is that of the step before.
type NonFiniteError struct {
	Step  int // the first is 1
	What  string
	Value float64
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("step %d: %s is %g", e.Step, e.What, e.Value)
}

// sums add up measures of supervised rows.
type sums struct {
	Loss, Correct, Entropy float64
	Count                  int
}

func (s *sums) add(m mistral.Measures) {
	for i := range m.Loss {
		s.Loss += float64(m.Loss[i])
		s.Correct += float64(m.Correct[i])
		s.Entropy += float64(m.Entropy[i])
	}
	s.Count += len(m.Loss)
}

func (s *sums) join(o sums) {
	s.Loss, s.Correct, s.Entropy, s.Count = s.Loss+o.Loss, s.Correct+o.Correct, s.Entropy+o.Entropy, s.Count+o.Count
}

func (s sums) figures() Figures {
	n := float64(max(s.Count, 1))
	return Figures{Loss: s.Loss / n, Accuracy: s.Correct / n, Entropy: s.Entropy / n, Supervised: s.Count}
}
