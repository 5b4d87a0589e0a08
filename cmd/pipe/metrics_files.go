package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pipe/cache"
	"pipe/internal/atomicfile"
	"pipe/internal/metrics"
	"pipe/pipeline/explain"
	"pipe/runtime/tfevents"
)

func healthText(c metrics.Checkpoint) string {
	text := c.Health
	if len(c.Signs) > 0 {
		text += ": " + strings.Join(c.Signs, "; ")
	}
	if !c.Kept {
		text = strings.TrimPrefix(text+", not kept", ", ")
	}
	return text
}

// writeCSV writes a row a step and checkpoint, in the order of the steps.
func writeCSV(out io.Writer, all []*explain.Metrics) error {
	names := valueNames(all)
	w := csv.NewWriter(out)
	w.Write(append([]string{"run", "stage", "step", "checkpoint", "health"}, names...))
	row := func(m *explain.Metrics, step int, checkpoint, health string, values map[string]float64) {
		cells := []string{m.Run, m.Stage, strconv.Itoa(step), checkpoint, health}
		for _, n := range names {
			text := ""
			if v, ok := values[n]; ok {
				text = strconv.FormatFloat(v, 'g', -1, 64)
			}
			cells = append(cells, text)
		}
		w.Write(cells) // Flush keeps the error
	}
	for _, m := range all {
		checkpoints := m.Checkpoints
		for _, p := range m.Points {
			row(m, p.Step, "", "", p.Values)
			for len(checkpoints) > 0 && checkpoints[0].Step <= p.Step {
				row(m, checkpoints[0].Step, checkpoints[0].Name, checkpoints[0].Health, checkpoints[0].Values)
				checkpoints = checkpoints[1:]
			}
		}
		for _, c := range checkpoints {
			row(m, c.Step, c.Name, c.Health, c.Values)
		}
	}
	w.Flush()
	return w.Error()
}

// writeEvents writes a folder a run, named by its id, with a TensorBoard event file:
// the one that the training attached or, for one that did not, one made of its
// metrics. A run with several trainings has a folder a stage below.
func (c *metricsCommand) writeEvents(a *app, store *cache.Store, all []*explain.Metrics) error {
	trainings := map[string]int{}
	for _, m := range all {
		trainings[m.Run]++
	}
	for _, m := range all {
		dir := filepath.Join(c.Tensorboard, m.Run)
		if trainings[m.Run] > 1 {
			dir = filepath.Join(dir, m.Stage)
		}
		b, err := eventsOf(store, m)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		path := filepath.Join(dir, tfevents.Name)
		if err := atomicfile.Write(path, b, 0o666); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "wrote %s\n", path)
	}
	return nil
}

func eventsOf(store *cache.Store, m *explain.Metrics) ([]byte, error) {
	record, err := readRecord(store, m.Result.Key)
	if err != nil {
		return nil, err
	}
	if o, ok := record.Attachments[tfevents.Name]; ok {
		if b, err := store.ReadBlob(o.Digest); err == nil {
			return b, nil
		}
	}
	var times []byte
	if o, ok := record.Attachments[metrics.TimingName]; ok {
		times, _ = store.ReadBlob(o.Digest) // without it, all have the time of the start
	}
	var b strings.Builder
	err = tfevents.Write(&b, m.Metrics, times, record.Made.Time)
	return []byte(b.String()), err
}

func readRecord(store *cache.Store, key string) (*cache.Record, error) {
	var k cache.Key
	if err := k.UnmarshalText([]byte(key)); err != nil {
		return nil, err
	}
	return store.ReadRecord(k)
}
