// Package selectbest is the stage kind that chooses among checkpoints by what they
// answered.
package selectbest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"pipe/internal/problem"
	"pipe/runtime/eval"
	"pipe/stages"
)

// Kind is the stage kind "select-best".
var Kind = stages.Define("select-best", "1",
	"Chooses the checkpoint that behaves best; health and hold-out loss decide only among equals.", run)

// Params are the parameters of the kind.
type Params struct {
	Tie      int     `yaml:"tie" default:"2" min:"0" help:"checkpoints within this many prompts of the best tie; then one inside the health bands, the lower hold-out loss, the earlier step wins"`
	MinScore float64 `yaml:"min_score" default:"0" min:"0" max:"1" help:"a best under this score is chosen and not published"`
}

// Inputs of the kind.
type Inputs struct {
	Sweep       stages.Input `port:"sweep" type:"folder" help:"the report of sanity-sweep"`
	Training    stages.Input `port:"training" help:"the metrics of train-qlora; of a matrix of trainings those of all, gathered"`
	Checkpoints stages.Input `port:"checkpoints" type:"folder" help:"the checkpoints of train-qlora, those that were swept"`
}

// Outputs of the kind.
type Outputs struct {
	Best     string `port:"best" type:"folder" optional:"true" help:"the chosen adapter, as PEFT reads it; absent if every checkpoint is barred"`
	Decision string `port:"decision" type:"file" help:"what was chosen, by which rule, over what (JSON)"`
}

func run(_ context.Context, env *stages.Env, p Params, in Inputs, out Outputs) error {
	report, err := readReport(filepath.Join(in.Sweep.Path, "report.json"))
	if err != nil {
		return err
	}
	marks, err := readMetrics(in.Training.Path)
	if err != nil {
		return err
	}
	choice := eval.Choose(report.Groups, candidates(report, marks), eval.Rules{Tie: p.Tie, MinScore: p.MinScore})
	if choice.Withheld != "" {
		env.Withhold(choice.Withheld)
		env.Log.Warn("not published", "because", choice.Withheld)
	}
	b, err := json.MarshalIndent(choice, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out.Decision, append(b, '\n'), 0o666); err != nil {
		return err
	}
	if choice.Best != "" {
		if base, ok := report.Bare(); ok && choice.Score <= base.Score() {
			env.Log.Warn("what was selected passes no more prompts than the bare base: nothing of the suite was learned", "base", base.Score(), "selected", choice.Score)
		}
		env.Log.Info("selected "+choice.Best, "score", choice.Score, "rule", choice.Rule)
		if err := copyAdapter(in.Checkpoints.Path, choice.Best, out.Best); err != nil {
			return err
		}
	}
	return summarize(env, choice, filepath.Join(in.Sweep.Path, "answers.jsonl"))
}

func readReport(path string) (*eval.Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r eval.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, problem.List{problem.At(path, 0, 0, "not readable as a sweep's report: %v", err)}
	}
	if len(r.Subjects) < 2 {
		return nil, problem.List{problem.At(path, 0, 0, "has no checkpoint to choose from")}
	}
	for _, s := range r.Subjects {
		if len(s.Groups) != len(r.Groups) {
			return nil, problem.List{problem.At(path, 0, 0, "%s has %d groups, the report %d", s.Name, len(s.Groups), len(r.Groups))}
		}
	}
	return &r, nil
}

// mark is what the metrics say of a checkpoint.
type mark struct {
	Checkpoint string   `json:"checkpoint"`
	Loss       *float64 `json:"loss"`
	Health     string   `json:"health"`
	HoldOut    *struct {
		Loss float64 `json:"loss"`
	} `json:"hold_out"`
}

// readMetrics reads the marks of checkpoints by name. A folder holds the metrics of
// several trainings, a file each, whose checkpoints lie in a folder of that name.
func readMetrics(path string) (map[string]mark, error) {
	marks := map[string]mark{}
	entries, err := os.ReadDir(path)
	if err != nil { // it is a file
		return marks, addMarks(marks, path, "")
	}
	for _, e := range entries {
		if err := addMarks(marks, filepath.Join(path, e.Name()), e.Name()); err != nil {
			return nil, err
		}
	}
	return marks, nil
}

func addMarks(marks map[string]mark, path, folder string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var m mark
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return problem.List{problem.At(path, i+1, 0, "not readable as JSON: %v", err)}
		}
		if m.Checkpoint != "" {
			marks[filepath.Join(folder, m.Checkpoint)] = m
		}
	}
	return nil
}

// healthy is what train-qlora calls a checkpoint inside all bands.
const healthy = "healthy"

func candidates(r *eval.Report, marks map[string]mark) []eval.Candidate {
	var list []eval.Candidate
	for _, s := range r.Subjects[1:] {
		c := eval.Candidate{Subject: s, HoldoutLoss: math.NaN()}
		if m, ok := marks[s.Name]; ok {
			c.Healthy = m.Health == healthy
			if m.HoldOut != nil {
				c.HoldoutLoss = m.HoldOut.Loss
			}
		}
		list = append(list, c)
	}
	return list
}

func copyAdapter(checkpoints, name, to string) error {
	from := filepath.Join(checkpoints, name)
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("the sweep chose %s, which is not among the checkpoints: connect select-best to the checkpoints that were swept", name)
	}
	return os.CopyFS(to, os.DirFS(from))
}

// summarize shows the choice and a few answers before and after.
func summarize(env *stages.Env, choice eval.Choice, answers string) error {
	var b strings.Builder
	if choice.Best == "" {
		b.WriteString("Selected: none\n")
		for _, r := range choice.Ranking {
			fmt.Fprintf(&b, "  %s is barred: %s\n", r.Name, strings.Join(r.Barred, "; "))
		}
	} else {
		fmt.Fprintf(&b, "Selected: %s, score %.3f\nRule: %s\n", choice.Best, choice.Score, choice.Rule)
	}
	if choice.Withheld != "" {
		fmt.Fprintf(&b, "Not published: %s\n", choice.Withheld)
	}
	if choice.Best != "" {
		if err := showAnswers(&b, choice.Best, answers); err != nil {
			return err
		}
	}
	w, err := env.Attach(stages.SummaryName)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(b.String()))
	return err
}

// shownAnswers is how many questions are shown: the first of each of the first
// groups.
const shownAnswers = 3

func showAnswers(b *strings.Builder, best, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before := map[string]eval.Said{}
	seen := map[string]bool{}
	shown := 0
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var s eval.Said
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			return problem.List{problem.At(path, i+1, 0, "not readable as JSON: %v", err)}
		}
		question := s.Group + "\x00" + s.System + "\x00" + s.Prompt
		switch {
		case s.Subject == "base":
			before[question] = s
		case s.Subject == best && !seen[s.Group] && shown < shownAnswers:
			seen[s.Group] = true
			shown++
			fmt.Fprintf(b, "\n%s: %s\n  before: %s\n  after:  %s\n", s.Group, s.Prompt, oneLine(before[question].Answer), oneLine(s.Answer))
		}
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
