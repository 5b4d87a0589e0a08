package trainqlora

import (
	"bufio"
	"errors"
	"os"
	"time"

	"pipe/internal/metrics"
	"pipe/runtime/tfevents"
)

// attachEvents attaches the training's curves as TensorBoard reads them: the metrics
// with the clock of the timing attachment, which the metrics must not hold.
func (s *session) attachEvents() error {
	b, err := os.ReadFile(s.metrics.Name())
	if err != nil {
		return err
	}
	f, err := s.env.Attach(tfevents.Name)
	if err != nil {
		return err
	}
	began := s.env.Now().Add(-time.Duration(metrics.LastTiming(s.times.Bytes()).Seconds * float64(time.Second)))
	w := bufio.NewWriter(f)
	return errors.Join(tfevents.Write(w, metrics.Parse(b), s.times.Bytes(), began), w.Flush(), f.Close())
}
