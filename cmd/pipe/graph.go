package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"pipe/cache"
	"pipe/internal/atomicfile"
	"pipe/pipeline"
	"pipe/pipeline/drawing"
	"pipe/pipeline/runner"
)

type graphCommand struct {
	storeFlag
	File string `arg:"" optional:"" help:"The pipeline file; that of the newest run by default."`
	profileFlag
	Format string `enum:"auto,ascii,dot,mermaid,svg,html,json" default:"auto" help:"ascii, dot, mermaid, svg, html or json; by default what the name after -o ends in says, else ascii." placeholder:"FORMAT"`
	Output string `short:"o" help:"Write to a file instead of standard output." placeholder:"FILE"`
}

// formats are the endings of files by which a format is told.
var formats = map[string]string{".txt": "ascii", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".svg": "svg", ".html": "html", ".htm": "html", ".json": "json"}

// Run is called by kong.
func (c *graphCommand) Run(a *app) error {
	format, err := c.format()
	if err != nil {
		return err
	}
	if dir := filepath.Dir(c.Output); c.Output != "" {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return usageError{fmt.Errorf("-o %s: there is no folder %s", c.Output, dir)}
		}
	}
	g, err := c.graph(a)
	if err != nil {
		return err
	}
	var text string
	switch format {
	case "ascii":
		text = g.ASCII(c.width(a))
	case "dot":
		text = g.DOT()
	case "mermaid":
		text = g.Mermaid()
	case "svg":
		text = g.SVG()
	case "html":
		text = g.HTML()
	case "json":
		text = string(g.JSON())
	}
	if c.Output == "" {
		_, err = fmt.Fprint(a.stdout, text)
		return err
	}
	return atomicfile.Write(c.Output, []byte(text), 0o666)
}

func (c *graphCommand) format() (string, error) {
	switch {
	case c.Format != "auto":
		return c.Format, nil
	case c.Output == "":
		return "ascii", nil
	}
	if format, ok := formats[strings.ToLower(filepath.Ext(c.Output))]; ok {
		return format, nil
	}
	return "", usageError{fmt.Errorf("-o %s: the name does not say which format it is to have (.txt, .dot, .mmd, .svg, .html and .json do); give --format", c.Output)}
}

// width is that of the terminal, or 0 where there is none.
func (c *graphCommand) width(a *app) int {
	f, ok := a.stdout.(*os.File)
	if !ok || c.Output != "" || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	const usual = 80
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return usual
}

// graph is the plan's, with what a run would do and what earlier ones did.
func (c *graphCommand) graph(a *app) (*drawing.Graph, error) {
	store, err := peekStore(c.Store)
	if err != nil {
		return nil, err
	}
	plan, err := a.planFor(store, c.File, c.profile(), nil)
	if err != nil {
		return nil, err
	}
	forecasts, err := a.newRunner(plan, store).Forecast(a.ctx)
	if err != nil {
		return nil, err
	}
	g := drawing.Of(plan)
	g.Time = time.Now().UTC().Truncate(time.Second)
	nodes := map[string]*drawing.Node{}
	for i := range g.Nodes {
		nodes[g.Nodes[i].Stage] = &g.Nodes[i]
	}
	for _, f := range forecasts {
		n := nodes[f.Step.Name]
		n.State, n.Why, n.Key = string(f.Prospect), f.Why, f.Key
		if f.Record != nil {
			addResult(n, f.Record)
		}
	}
	return g, addHistory(store, plan, g, nodes)
}

// addResult tells of a result: when it was made, and what it is.
func addResult(n *drawing.Node, record *cache.Record) {
	n.Made = &drawing.Made{Time: record.Made.Time, Seconds: record.Made.Seconds, Key: record.Key.String()}
	for i, o := range n.Outputs {
		if object, ok := record.Outputs[o.Port]; ok {
			n.Outputs[i] = drawing.Output{Port: o.Port, Kind: string(object.Kind), Digest: object.Digest.String(), Size: object.Size}
		}
	}
}

// addHistory tells how each stage ended in the newest run of the file that had it, what was
// decided about its publications and, of one without a result, which was its newest.
func addHistory(store *cache.Store, plan *pipeline.Plan, g *drawing.Graph, nodes map[string]*drawing.Node) error {
	file := realPath(plan.File)
	return runner.EachPast(store, func(p *runner.Past) bool {
		if p.Start.Pipeline != plan.Name || p.Start.Profile != plan.Profile || p.Start.File != "" && fileOf(runner.StageUse{File: p.Start.File, Dir: p.Start.Dir}) != file {
			return true
		}
		for _, e := range slices.Backward(p.Events) {
			n := nodes[e.Stage]
			switch {
			case n == nil:
			case e.Type == "publish":
				addDecision(n, e)
			case e.Type == "stage_end":
				addEnd(store, n, p.ID, e)
			}
		}
		return slices.ContainsFunc(g.Nodes, func(n drawing.Node) bool { return n.Last == nil || n.Made == nil })
	})
}

func addDecision(n *drawing.Node, e runner.Event) {
	for i, p := range n.Publish {
		if p.Port == e.Port && p.To == e.To && p.Decision == "" {
			n.Publish[i].Decision, n.Publish[i].Digest = e.Decision, e.Digest
		}
	}
}

func addEnd(store *cache.Store, n *drawing.Node, run string, e runner.Event) {
	if n.Last == nil {
		n.Last = &drawing.Last{Run: run, Time: e.Time, Outcome: string(e.Outcome), Why: e.Why}
		if e.Error != "" {
			n.Last.Why, _, _ = strings.Cut(e.Error, "\n")
		}
	}
	if n.Made == nil && (e.Outcome == runner.Ran || e.Outcome == runner.Cached) {
		if record, err := readRecord(store, e.Key); err == nil { // else it was collected
			addResult(n, record)
		}
	}
}
