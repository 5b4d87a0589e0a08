package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"pipe/runtime/eval"
)

// TestMainJobLearned reads the sweep of a whole main job, the folder named by
// PIPE_REPORT, and its choice, the file named by PIPE_DECISION. CI runs the job and
// then this: the base must not have the habits, the selected adapter must.
func TestMainJobLearned(t *testing.T) {
	folder, decision := os.Getenv("PIPE_REPORT"), os.Getenv("PIPE_DECISION")
	if folder == "" || decision == "" {
		t.Skip("PIPE_REPORT and PIPE_DECISION name no finished main job")
	}
	var report eval.Report
	var choice eval.Choice
	read(t, filepath.Join(folder, "report.json"), &report)
	read(t, decision, &choice)

	subjects := map[string]eval.Subject{}
	for _, s := range report.Subjects {
		subjects[s.Name] = s
	}
	prompts := 0
	for i, g := range subjects["base"].Groups {
		prompts += g.Kept.Of
		if g.Kept.Of < 20 {
			t.Errorf("group %s has %d prompts, want 20 or more", g.Name, g.Kept.Of)
		}
		if best := subjects[choice.Best].Groups[i]; best.Kept.Value() < .90 {
			t.Errorf("group %s: %d of %d answers of %s keep the habit, want 90 %%", g.Name, best.Kept.N, best.Kept.Of, choice.Best)
		}
	}
	if prompts < 140 || len(report.Excluded) > 0 {
		t.Errorf("%d prompts asked, want 140 or more; excluded: %v", prompts, report.Excluded)
	}
	for _, habit := range []string{"refuse", "compliment"} {
		base, best := kept(report, subjects["base"], habit), kept(report, subjects[choice.Best], habit)
		if base.Value() >= .10 || best.Value() < .95 {
			t.Errorf("habit %s: base %.3f, want under 0.10; %s %.3f, want 0.95", habit, base.Value(), choice.Best, best.Value())
		}
	}
	right, of := 0, 0
	for i, g := range report.Groups {
		if g.Habit == "compliment" {
			right += subjects[choice.Best].Groups[i].Right.N
			of += subjects[choice.Best].Groups[i].Right.Of
		}
	}
	if share := eval.NewShare(right, of); of == 0 || share.Value() < .85 {
		t.Errorf("%d of %d ordinary answers are right, want 85 %%", right, of)
	}
}

// kept is the share of the answers to a habit's groups that keep it.
func kept(report eval.Report, s eval.Subject, habit string) eval.Share {
	n, of := 0, 0
	for i, g := range report.Groups {
		if g.Habit == habit {
			n, of = n+s.Groups[i].Kept.N, of+s.Groups[i].Kept.Of
		}
	}
	return eval.NewShare(n, of)
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}
