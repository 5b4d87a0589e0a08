package explain

import (
	"fmt"

	"pipe/cache"
	"pipe/internal/metrics"
	"pipe/internal/stagename"
	"pipe/pipeline/runner"
)

// MetricsPort is the output port whose file is read as metrics, of whichever kind the
// stage is.
const MetricsPort = "metrics"

// Metrics are those of a stage in a run.
type Metrics struct {
	Run   string `json:"run"`
	Stage string `json:"stage"`
	*metrics.Metrics
	Result runner.Event `json:"-"` // the stage_end
}

// MetricsOf reads the metrics that the stages of a run made, in the order of the run.
// With a selector only its stages' are read. It is an error if they are no longer there.
func MetricsOf(store *cache.Store, p *runner.Past, selector string) ([]*Metrics, error) {
	sel, err := stagename.Parse(selector)
	if err != nil {
		return nil, err
	}
	var all []*Metrics
	for _, e := range p.Events {
		o, made := e.Outputs[MetricsPort]
		if e.Type != "stage_end" || !made || o.Kind != cache.File || selector != "" && !sel.Matches(e.Stage) {
			continue
		}
		b, err := store.ReadBlob(o.Digest)
		if err != nil {
			return nil, fmt.Errorf("%s.%s of run %s: %w", e.Stage, MetricsPort, p.ID, err)
		}
		m := &Metrics{Run: p.ID, Stage: e.Stage, Metrics: metrics.Parse(b), Result: e}
		if len(m.Points) > 0 || len(m.Checkpoints) > 0 {
			all = append(all, m)
		}
	}
	return all, nil
}
