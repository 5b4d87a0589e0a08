package eval

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Candidate is a checkpoint with all that is known of it.
type Candidate struct {
	Subject
	Healthy     bool    // it was saved inside the health bands
	HoldoutLoss float64 // NaN where there was no hold-out
}

// Rules are how a choice is made.
type Rules struct {
	Tie      int     // checkpoints within this many prompts of the best tie
	MinScore float64 // below it the best is chosen and not published
}

// Choice is what was chosen, by which rule, over what.
type Choice struct {
	Best     string   `json:"best"` // name, or "" if none is left
	Step     int      `json:"step,omitempty"`
	Score    float64  `json:"score"`
	Rule     string   `json:"rule"`
	Withheld string   `json:"withheld,omitempty"` // why it must not be published
	Ranking  []Ranked `json:"ranking"`            // the best first, the barred last
}

// Ranked is a candidate's place.
type Ranked struct {
	Name        string   `json:"name"`
	Score       float64  `json:"score"`
	Passed      int      `json:"passed"`
	Asked       int      `json:"asked"`
	Healthy     bool     `json:"healthy"`
	HoldoutLoss *float64 `json:"holdout_loss,omitempty"`
	Barred      []string `json:"barred,omitempty"` // why it cannot be chosen
}

// Choose ranks candidates: barred ones last; then the highest score, where those
// within the tie of the best tie; among them one inside the health bands, then the
// lower hold-out loss, then the earlier step.
func Choose(groups []GroupInfo, candidates []Candidate, rules Rules) Choice {
	barred := map[string][]string{}
	most := 0
	for _, c := range candidates {
		barred[c.Name] = bars(groups, c)
		if len(barred[c.Name]) == 0 {
			most = max(most, c.Passed)
		}
	}
	tied := func(c Candidate) bool { return len(barred[c.Name]) == 0 && c.Passed >= most-rules.Tie }
	sorted := slices.Clone(candidates)
	slices.SortStableFunc(sorted, func(a, b Candidate) int {
		if x := cmp.Compare(len(barred[a.Name]), len(barred[b.Name])); x != 0 && (len(barred[a.Name]) == 0 || len(barred[b.Name]) == 0) {
			return x
		}
		if tied(a) != tied(b) {
			return before(tied(a))
		}
		if !tied(a) && a.Passed != b.Passed {
			return b.Passed - a.Passed
		}
		if a.Healthy != b.Healthy {
			return before(a.Healthy)
		}
		if a.HoldoutLoss != b.HoldoutLoss && (a.HoldoutLoss < b.HoldoutLoss || b.HoldoutLoss < a.HoldoutLoss) {
			return cmp.Compare(a.HoldoutLoss, b.HoldoutLoss)
		}
		return a.Step - b.Step
	})
	choice := Choice{}
	for _, c := range sorted {
		r := Ranked{Name: c.Name, Score: c.Score(), Passed: c.Passed, Asked: c.Asked, Healthy: c.Healthy, Barred: barred[c.Name]}
		if c.HoldoutLoss == c.HoldoutLoss {
			r.HoldoutLoss = &c.HoldoutLoss
		}
		choice.Ranking = append(choice.Ranking, r)
	}
	if len(sorted) == 0 || len(barred[sorted[0].Name]) > 0 {
		choice.Rule = "no checkpoint is left: each is barred"
		choice.Withheld = choice.Rule
		return choice
	}
	best := sorted[0]
	choice.Best, choice.Step, choice.Score = best.Name, best.Step, best.Score()
	choice.Rule = rule(sorted, tied, best, rules)
	if choice.Score < rules.MinScore {
		choice.Withheld = fmt.Sprintf("the best score, %.3f, is under min_score %.3f", choice.Score, rules.MinScore)
	}
	return choice
}

// before is the order of one that comes first if first is true.
func before(first bool) int {
	if first {
		return -1
	}
	return 1
}

// bars lists what keeps a candidate from being chosen.
func bars(groups []GroupInfo, c Candidate) []string {
	var why []string
	if c.NotFinite > 0 {
		why = append(why, "numbers that are not finite")
	}
	if c.Unstopped > 0 {
		why = append(why, fmt.Sprintf("%d answers do not stop", c.Unstopped))
	}
	for i, g := range groups {
		if kept := c.Groups[i].Kept; kept.Value() < g.Min {
			why = append(why, fmt.Sprintf("group %s: %d of %d keep the habit, at least %.0f %% must", g.Name, kept.N, kept.Of, 100*g.Min))
		}
	}
	return why
}

// rule says in words what decided, narrowing the tie as the order did.
func rule(sorted []Candidate, tied func(Candidate) bool, best Candidate, rules Rules) string {
	left := keep(sorted, tied)
	if len(left) == 1 {
		return fmt.Sprintf("most prompts passed: %d of %d", best.Passed, best.Asked)
	}
	text := fmt.Sprintf("within %d prompts of the most passed%s", rules.Tie, besides(left))
	if healthy := keep(left, func(c Candidate) bool { return c.Healthy }); len(healthy) > 0 && len(healthy) < len(left) {
		left = healthy
		text += "; inside the health bands" + besides(left)
	}
	switch {
	case len(left) == 1:
		return text
	case best.HoldoutLoss < left[1].HoldoutLoss:
		return text + "; lower hold-out loss"
	}
	return text + "; earlier step"
}

// keep returns those for which is holds.
func keep(candidates []Candidate, is func(Candidate) bool) []Candidate {
	return slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool { return !is(c) })
}

// besides names those that the first of left shares its place with.
func besides(left []Candidate) string {
	names := make([]string, 0, len(left))
	for _, c := range left[1:] {
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return ", as " + strings.Join(names, " and ")
}
