package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"pipe/cache"
	"pipe/internal/document"
	"pipe/internal/stagename"
	"pipe/pipeline/explain"
	"pipe/pipeline/runner"
)

type metricsCommand struct {
	storeFlag
	Runs        []string `arg:"" optional:"" name:"run" help:"Runs to draw over one another: an id, the beginning or end of one, last, last~1; by default the newest that trained something."`
	Stage       string   `help:"Only of this stage; of one with a matrix train[seed=0], too." placeholder:"STAGE"`
	Only        []string `help:"Which values to draw: loss, hold_out.loss, …" placeholder:"NAME"`
	CSV         bool     `name:"csv" help:"Print a row a step and checkpoint." xor:"form"`
	JSON        bool     `name:"json" help:"Print a JSON object a run and stage." xor:"form"`
	Tensorboard string   `help:"Write event files for TensorBoard, in a folder of DIR a run." placeholder:"DIR" xor:"form"`
}

// Run is called by kong.
func (c *metricsCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	all, err := c.metrics(store)
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		for _, m := range all {
			if err := printJSON(a.stdout, m); err != nil {
				return err
			}
		}
		return nil
	case c.CSV:
		return writeCSV(a.stdout, all)
	case c.Tensorboard != "":
		return c.writeEvents(a, store, all)
	}
	known := valueNames(all)
	for _, n := range c.Only {
		if !slices.Contains(known, n) {
			return usageError{fmt.Errorf("--only: there is no value %q (%s)", n, document.Suggest(n, known))}
		}
	}
	return c.draw(a.stdout, all)
}

// metrics reads the metrics of the runs that were asked for.
func (c *metricsCommand) metrics(store *cache.Store) ([]*explain.Metrics, error) {
	var runs []*runner.Past
	for _, name := range c.Runs {
		p, err := findRun(store, name)
		if err != nil {
			return nil, err
		}
		runs = append(runs, p)
	}
	if len(runs) == 0 {
		p, err := lastRun(store, func(p *runner.Past) bool { return c.hasMetrics(p) })
		if err != nil {
			return nil, usageError{fmt.Errorf("no run in the store %s has an output %q", store.Dir(), explain.MetricsPort)}
		}
		runs = append(runs, p)
	}
	var all []*explain.Metrics
	for _, p := range runs {
		list, err := explain.MetricsOf(store, p, c.Stage)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, usageError{fmt.Errorf("run %s has no metrics: no stage of it made an output %q of JSON lines with a step", p.ID, explain.MetricsPort)}
		}
		all = append(all, list...)
	}
	return all, nil
}

func (c *metricsCommand) hasMetrics(p *runner.Past) bool {
	sel, err := stagename.Parse(c.Stage)
	return err != nil || slices.ContainsFunc(p.Events, func(e runner.Event) bool {
		_, made := e.Outputs[explain.MetricsPort]
		return e.Type == "stage_end" && made && (c.Stage == "" || sel.Matches(e.Stage))
	})
}

// usualCurves are drawn if they are there; if none is, all are.
var usualCurves = []string{"loss", "hold_out.loss", "accuracy", "entropy", "grad_norm", "learning_rate"}

// Size of a plot: with its axis it fits a terminal of 80 columns, and three fit one
// of 24 lines.
const (
	plotWidth  = 68
	plotHeight = 6
)

func (c *metricsCommand) draw(out io.Writer, all []*explain.Metrics) error {
	p := plot{width: plotWidth, height: plotHeight}
	if f, ok := out.(*os.File); ok && len(all) == 1 && term.IsTerminal(int(f.Fd())) && themeOf(os.Getenv).unicode {
		p.dots = true
	}
	p.left, p.right = steps(all)
	for i, m := range all {
		mark := ""
		if len(all) > 1 {
			mark = string(curveMarks[i%len(curveMarks)]) + "  "
		}
		ending := ""
		if m.End != "" {
			ending = ", ended by " + m.End
		}
		fmt.Fprintf(out, "%srun %s, %s: %d steps%s\n", mark, m.Run, m.Stage, lastStep(m), printable(ending))
	}
	names := c.names(all)
	for _, name := range names {
		var curves []curve
		var parts []string
		for _, m := range all {
			one := curveOf(m, name)
			curves = append(curves, one)
			if n := len(one.y); n > 0 {
				parts = append(parts, axisNumber(one.y[n-1]))
			} else {
				parts = append(parts, "–")
			}
		}
		fmt.Fprintf(out, "\n%s  (last: %s)\n%s\n", printable(name), strings.Join(parts, ", "), strings.Join(p.draw(curves), "\n"))
	}
	return checkpointTable(out, all)
}

// steps is the range of steps, so that all plots have one axis.
func steps(all []*explain.Metrics) (first, last float64) {
	first = math.Inf(1)
	for _, m := range all {
		if len(m.Points) > 0 {
			first = min(first, float64(m.Points[0].Step))
		} else if len(m.Checkpoints) > 0 {
			first = min(first, float64(m.Checkpoints[0].Step))
		}
		last = max(last, float64(lastStep(m)))
	}
	return first, last
}

func lastStep(m *explain.Metrics) int { return int(m.Last()["step"]) }

// names are the values to draw.
func (c *metricsCommand) names(all []*explain.Metrics) []string {
	known := valueNames(all)
	if len(c.Only) > 0 {
		return c.Only
	}
	var names []string
	for _, n := range usualCurves {
		if slices.Contains(known, n) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return known
	}
	return names
}

// valueNames lists the values that any of the metrics has, those of steps first.
func valueNames(all []*explain.Metrics) []string {
	var names, later []string
	for _, m := range all {
		names = append(names, m.Names...)
		for _, c := range m.Checkpoints {
			for n := range c.Values {
				later = append(later, n)
			}
		}
	}
	slices.Sort(later)
	var known []string
	for _, n := range append(names, later...) {
		if !slices.Contains(known, n) {
			known = append(known, n)
		}
	}
	return known
}

// curveOf is a value over the steps; one that only checkpoints have over these.
func curveOf(m *explain.Metrics, name string) curve {
	var c curve
	for _, p := range m.Points {
		if v, ok := p.Values[name]; ok {
			c.x, c.y = append(c.x, float64(p.Step)), append(c.y, v)
		}
	}
	if len(c.x) > 0 {
		return c
	}
	for _, p := range m.Checkpoints {
		if v, ok := p.Values[name]; ok {
			c.x, c.y = append(c.x, float64(p.Step)), append(c.y, v)
		}
	}
	return c
}

// checkpointTable lists the checkpoints with their health.
func checkpointTable(out io.Writer, all []*explain.Metrics) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	columns := []string{"epoch", "loss", "accuracy", "entropy", "hold_out.loss"}
	for i, m := range all {
		if len(m.Checkpoints) == 0 {
			continue
		}
		title := "checkpoint"
		if len(all) > 1 {
			title = string(curveMarks[i%len(curveMarks)]) + "  checkpoint"
		}
		fmt.Fprintf(t, "\n%s\t%s\thealth\n", title, strings.Join(columns, "\t"))
		for _, c := range m.Checkpoints {
			fmt.Fprint(t, printable(c.Name))
			for _, name := range columns {
				text := "–"
				if v, ok := c.Values[name]; ok {
					text = axisNumber(v)
				}
				fmt.Fprintf(t, "\t%s", text)
			}
			fmt.Fprintf(t, "\t%s\n", printable(healthText(c)))
		}
	}
	return t.Flush()
}
