package selectbest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/runtime/eval"
	"pipe/stages/stagetest"
)

// inputs writes a sweep over checkpoints that passed so many of 100 prompts, their
// metrics and their folders.
func inputs(t *testing.T, passed map[int]int, metrics ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	r := eval.Report{Groups: []eval.GroupInfo{{Name: "g", Habit: eval.Refuse, Min: 0.5}}}
	add := func(name string, step, n int) {
		share := eval.NewShare(n, 100)
		r.Subjects = append(r.Subjects, eval.Subject{Name: name, Step: step, Passed: n, Asked: 100, Groups: []eval.GroupResult{{Name: "g", Kept: share, Pass: share}}})
	}
	add("base", 0, 0)
	for step := 10; step <= 50; step += 10 {
		if n, ok := passed[step]; ok {
			name := fmt.Sprintf("checkpoint-%d", step)
			add(name, step, n)
			os.MkdirAll(filepath.Join(dir, "checkpoints", name), 0o777)
			os.WriteFile(filepath.Join(dir, "checkpoints", name, "adapter_config.json"), []byte(name), 0o666)
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(dir, "sweep"), 0o777)
	os.WriteFile(filepath.Join(dir, "sweep", "report.json"), b, 0o666)
	os.WriteFile(filepath.Join(dir, "sweep", "answers.jsonl"), []byte(`{"subject":"base","group":"g","prompt":"p","answer":"a"}`+"\n"), 0o666)
	os.WriteFile(filepath.Join(dir, "metrics"), []byte(strings.Join(append(metrics, `{"end":"max_epochs"}`), "\n")), 0o666)
	return map[string]string{"sweep": filepath.Join(dir, "sweep"), "training": filepath.Join(dir, "metrics"), "checkpoints": filepath.Join(dir, "checkpoints")}
}

func save(step int, health string, loss float64) string {
	return fmt.Sprintf(`{"checkpoint":"checkpoint-%d","step":%d,"health":%q,"hold_out":{"loss":%g}}`, step, step, health, loss)
}

func TestKind(t *testing.T) {
	stagetest.Run(t, Kind, stagetest.Case{Inputs: inputs(t, map[int]int{10: 70, 20: 90}, save(10, "warming", 1), save(20, "healthy", .5))})
}

func TestChoice(t *testing.T) {
	for _, c := range []struct {
		name     string
		with     string
		passed   map[int]int
		metrics  []string
		best     string
		rule     string
		withheld string
	}{
		{"highest score", "", map[int]int{10: 80, 20: 95, 30: 90}, nil, "checkpoint-20", "most prompts passed: 95 of 100", ""},
		{"health among equals", "", map[int]int{10: 94, 20: 95}, []string{save(10, "healthy", 1), save(20, "past", .1)}, "checkpoint-10", "inside the health bands", ""},
		{"hold-out loss among equals", "", map[int]int{10: 95, 20: 93}, []string{save(10, "past", .4), save(20, "past", .3)}, "checkpoint-20", "lower hold-out loss", ""},
		{"earlier step among equals", "", map[int]int{10: 93, 20: 95}, nil, "checkpoint-10", "earlier step", ""},
		{"no tie beyond the margin", "tie: 1", map[int]int{10: 93, 20: 95}, []string{save(10, "healthy", .1)}, "checkpoint-20", "most prompts passed", ""},
		{"behaviour before health", "", map[int]int{10: 80, 20: 95}, []string{save(10, "healthy", .1), save(20, "overfitting", 3)}, "checkpoint-20", "most prompts passed", ""},
		{"a barred one never wins", "", map[int]int{10: 49, 20: 60}, nil, "checkpoint-20", "most prompts passed", ""},
		{"none is left", "", map[int]int{10: 49, 20: 30}, nil, "", "each is barred", "each is barred"},
		{"under min_score", "min_score: 0.97", map[int]int{10: 95}, nil, "checkpoint-10", "most prompts passed", "is under min_score 0.970"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := stagetest.Execute(t, Kind, stagetest.Case{With: c.with, Inputs: inputs(t, c.passed, c.metrics...)}, stagetest.Setting{})
			b, err := os.ReadFile(filepath.Join(r.Dir, "decision"))
			if err != nil {
				t.Fatal(err)
			}
			var choice eval.Choice
			if err := json.Unmarshal(b, &choice); err != nil {
				t.Fatal(err)
			}
			if choice.Best != c.best || !strings.Contains(choice.Rule, c.rule) || !strings.Contains(r.Withheld, c.withheld) || (c.withheld == "") != (r.Withheld == "") {
				t.Errorf("got %q by %q, withheld %q", choice.Best, choice.Rule, r.Withheld)
			}
			best, err := os.ReadFile(filepath.Join(r.Dir, "best", "adapter_config.json"))
			if c.best == "" && err == nil || c.best != "" && string(best) != c.best {
				t.Errorf("best is %q (%v)", best, err)
			}
		})
	}
}
