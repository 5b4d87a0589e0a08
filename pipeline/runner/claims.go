package runner

import (
	"sync"

	"pipe/cache"
	"pipe/pipeline"
)

// claims says which steps of this run are making which results and states. Names are no
// part of a key: two steps may be one action, above all in a matrix, and the second is
// not to run beside the first, nor to hold what it needs while it waits.
type claims struct {
	mu   sync.Mutex
	of   map[cache.Key]*pipeline.Step
	made map[cache.Key]bool // in this run: even --recompute does not make them twice
}

// take claims keys for a step, all or none. It returns the step that has one of them.
func (c *claims) take(s *pipeline.Step, keys []cache.Key) (other *pipeline.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		if other := c.of[k]; other != nil {
			return other
		}
	}
	if c.of == nil {
		c.of, c.made = map[cache.Key]*pipeline.Step{}, map[cache.Key]bool{}
	}
	for _, k := range keys {
		c.of[k] = s
	}
	return nil
}

func (c *claims) give(keys []cache.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		delete(c.of, k)
	}
}

func (c *claims) done(k cache.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[k] = true
}

func (c *claims) isDone(k cache.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made[k]
}
