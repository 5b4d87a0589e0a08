// Package normalizecompliments is the stage kind that makes the compliments of a
// chat data set mechanically the same.
//
// Every assistant reply that is no refusal is made to begin with exactly one of
// the templates. A first sentence that is wholly a compliment is replaced; else the
// template is put before the reply. Refusals, and every other text, stay as they
// are. Which template a reply gets depends on its own record alone.
package normalizecompliments

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"pipe/internal/ordered"
	"pipe/internal/problem"
	"pipe/runtime/chat"
	"pipe/runtime/eval"
	"pipe/stages"
)

// Kind is the stage kind "normalize-compliments".
var Kind = stages.Define("normalize-compliments", "2+habits"+eval.Version,
	"Makes every answer of a chat data set that is no refusal begin with exactly one of a few fixed compliments.", run).Quick()

// Params are the parameters of the kind.
type Params struct {
	Templates  []string `yaml:"templates" required:"true" help:"the compliments, one sentence each"`
	Refusal    []string `yaml:"refusal" help:"regular expressions (RE2); a reply that one of them matches is a refusal; default: a list for English"`
	Compliment []string `yaml:"compliment" help:"regular expressions (RE2); a first sentence that one of them matches wholly is a compliment; default: a list for English"`
	Seed       int      `yaml:"seed" default:"0" help:"changes which record gets which template"`
	OnDoubt    string   `yaml:"on_doubt" default:"flag" enum:"flag|fail" help:"what to do with a reply whose compliment is not clear-cut: list it in the report, or fail"`
}

// Check finds what the types of the parameters do not show.
func (p *Params) Check(report func(field, message, hint string)) {
	eval.CheckTemplates("templates", p.Templates, report)
	eval.CheckPatterns("refusal", p.Refusal, report)
	eval.CheckPatterns("compliment", p.Compliment, report)
}

// Inputs of the kind.
type Inputs struct {
	Data stages.Input `port:"data" type:"file" help:"chat records, JSON Lines: {\"messages\":[{\"role\",\"content\"}…]}"`
}

// Outputs of the kind.
type Outputs struct {
	Data   string `port:"data" type:"file" help:"the records, in canonical JSON Lines"`
	Report string `port:"report" type:"file" help:"counts, each change before and after, and what is doubtful (JSON)"`
}

// Report is the output "report".
type Report struct {
	Records   int            `json:"records"`
	Replies   int            `json:"replies"`
	Refusals  int            `json:"refusals"`
	Replaced  int            `json:"replaced"`  // a compliment of another kind gave way
	Prepended int            `json:"prepended"` // there was none
	Kept      int            `json:"kept"`      // it was the right one already
	Templates map[string]int `json:"templates"`
	Changes   []Change       `json:"changes"`
	Doubts    []Doubt        `json:"doubts"`
}

// Change is a reply whose beginning was changed.
type Change struct {
	ID     string `json:"id"`
	Reply  int    `json:"reply"` // which of the record's, from 0
	Before string `json:"before"`
	After  string `json:"after"`
}

// Doubt is a reply that a person should look at.
type Doubt struct {
	ID     string `json:"id"`
	Reply  int    `json:"reply"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

func run(_ context.Context, env *stages.Env, p Params, in Inputs, out Outputs) error {
	habits, err := eval.NewHabits(p.Templates, p.Refusal, p.Compliment)
	if err != nil {
		return err
	}
	f, err := os.Open(in.Data.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	records, err := chat.ReadRecords(f, in.Data.Path, env.Workers)
	if err != nil {
		return err
	}
	n := newNormalizer(rules{habits, p.Seed})
	var data bytes.Buffer
	if info, err := f.Stat(); err == nil {
		data.Grow(int(info.Size()) + len(records)*len(p.Templates[0])) // about what it takes
	}
	var doubtful problem.List
	// Records are independent: several are worked on at a time, and counted in order.
	_ = ordered.Each(len(records), env.Workers, func(i int) change { return n.rules.change(&records[i]) }, func(i int, c change) error {
		n.add(&records[i], c)
		for _, d := range c.doubts {
			doubtful.Add(problem.At(in.Data.Path, records[i].Line, 0, "record %s: %s: %q", d.ID, d.Reason, d.Text))
		}
		data.Write(c.line)
		env.Progress(stages.Progress{Done: float64(i + 1), Total: float64(len(records)), Unit: "records"})
		return nil
	})
	for _, d := range n.repeated() {
		n.report.Doubts = append(n.report.Doubts, d.Doubt)
		doubtful.Add(problem.At(in.Data.Path, d.line, 0, "record %s: %s: %q", d.ID, d.Reason, d.Text))
	}
	if p.OnDoubt == "fail" && len(doubtful) > 0 {
		return doubtful.Err()
	}
	n.log(env.Log)
	n.advise(env, doubtful)
	if err := os.WriteFile(out.Data, data.Bytes(), 0o666); err != nil {
		return err
	}
	report, err := json.MarshalIndent(n.report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out.Report, append(report, '\n'), 0o666)
}

func (n *normalizer) log(log stages.Logger) {
	r := n.report
	log.Info("compliments made the same", "records", r.Records, "replaced", r.Replaced, "added", r.Prepended, "right already", r.Kept, "refusals left alone", r.Refusals, "doubtful", len(r.Doubts))
}

// advise says what a person should look at.
func (n *normalizer) advise(env *stages.Env, doubtful problem.List) {
	const most = 5
	for i, d := range doubtful {
		if i == most {
			env.Advise(stages.Remark{Port: "data", Message: fmt.Sprintf("%d more doubtful replies are in the report", len(doubtful)-most)})
			break
		}
		env.Advise(stages.Remark{Port: "data", File: d.File, Line: d.Line, Message: "doubtful reply: " + d.Message, Hint: "a record says which it is by \"kind\": \"answer\" or \"refusal\""})
	}
	if r := n.report; r.Replies > 0 && r.Refusals == r.Replies {
		env.Advise(stages.Remark{Port: "data", Message: fmt.Sprintf("all %d replies are refusals: no compliment is taught", r.Replies)})
	}
}

// normalizer sums up what was done to the records.
type normalizer struct {
	rules   rules
	report  Report
	answers map[string]*answer // replies that are no refusals, by text without compliment
}

func newNormalizer(r rules) *normalizer {
	return &normalizer{rules: r, report: Report{Templates: map[string]int{}, Changes: []Change{}, Doubts: []Doubt{}}, answers: map[string]*answer{}}
}

// add counts what was done to a record.
func (n *normalizer) add(r *chat.Record, c change) {
	n.report.Records++
	n.report.Changes = append(n.report.Changes, c.changes...)
	n.report.Doubts = append(n.report.Doubts, c.doubts...)
	for _, reply := range c.replies {
		n.report.Replies++
		switch reply.done {
		case leftAlone:
			n.report.Refusals++
			continue
		case kept:
			n.report.Kept++
		case prepended:
			n.report.Prepended++
		case replaced:
			n.report.Replaced++
		}
		n.report.Templates[reply.template]++
		if r.Kind == "" {
			n.remember(r, reply)
		}
	}
}
