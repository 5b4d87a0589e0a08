package train

import (
	"fmt"

	"pipe/runtime/mistral"
)

// Sample is one conversation.
type Sample struct {
	IDs      []int32
	IsTarget []bool // as long as IDs; the first is never one
}

// supervised is the number of rows that have a target.
func (s Sample) supervised() int {
	n := 0
	for i, is := range s.IsTarget {
		if i > 0 && is {
			n++
		}
	}
	return n
}

// check says why a sample cannot be trained on.
func (s Sample) check(c mistral.Config) error {
	switch {
	case len(s.IDs) == 0:
		return fmt.Errorf("no tokens")
	case len(s.IsTarget) != len(s.IDs):
		return fmt.Errorf("%d tokens and a mask of %d", len(s.IDs), len(s.IsTarget))
	case len(s.IDs) > c.Positions:
		return fmt.Errorf("%d tokens, the base was made for up to %d", len(s.IDs), c.Positions)
	case s.supervised() == 0:
		return fmt.Errorf("no token is a target")
	}
	for i, id := range s.IDs {
		if id < 0 || int(id) >= c.Vocabulary {
			return fmt.Errorf("token %d is %d, the base has %d: another tokenizer?", i, id, c.Vocabulary)
		}
	}
	return nil
}

// checkSamples checks all samples of a set called name.
func checkSamples(name string, samples []Sample, c mistral.Config) error {
	for i, s := range samples {
		if err := s.check(c); err != nil {
			return fmt.Errorf("%s sample %d: %w", name, i, err)
		}
	}
	return nil
}

// longest is the number of tokens of the longest sample.
func longest(samples []Sample) int {
	n := 0
	for _, s := range samples {
		n = max(n, len(s.IDs))
	}
	return n
}
