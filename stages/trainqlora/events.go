package trainqlora

import (
	"bufio"
	"bytes"
	"encoding/json"
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
	began := s.env.Now().Add(-lastSeconds(s.times.Bytes()))
	w := bufio.NewWriter(f)
	return errors.Join(tfevents.Write(w, metrics.Parse(b), s.times.Bytes(), began), w.Flush(), f.Close())
}

// lastSeconds is the time that the last line of a timing attachment tells of.
func lastSeconds(times []byte) time.Duration {
	lines := bytes.Split(bytes.TrimSpace(times), []byte("\n"))
	var last struct{ Seconds float64 }
	_ = json.Unmarshal(lines[len(lines)-1], &last) // without a step there is no line
	return time.Duration(last.Seconds * float64(time.Second))
}
