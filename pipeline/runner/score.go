package runner

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline"
)

// scoreName is the file, at the top of the folder that a judging stage makes, in
// which it says how good what it looked at is. It is all that the runner knows of
// such a stage:
//
//	{"suite": "…", "base": "…", "template": "…", "scores": {"<digest of a folder>": 0.98}}
//
// Scores are numbers, more is better. Two of them can be compared if suite, base and
// template are the same; these are any text, and may be absent.
const scoreName = "score.json"

// maxScoreFile is the largest score.json that is read, in bytes: some 100,000
// scores.
const maxScoreFile = 8 << 20

// scores is the content of score.json.
type scores struct {
	Suite    string              `json:"suite"`
	Base     string              `json:"base"`
	Template string              `json:"template"`
	Scores   map[string]*float64 `json:"scores"`
}

// parseScores reads a score.json. Keys that it does not know are left alone.
func parseScores(b []byte) (scores, error) {
	var s scores
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("not readable: %w", err)
	}
	if s.Scores == nil {
		return s, fmt.Errorf("%q is missing: a map from the digest of a folder to its score", "scores")
	}
	for _, digest := range slices.Sorted(maps.Keys(s.Scores)) {
		if s.Scores[digest] == nil {
			return s, fmt.Errorf("the score of %s must be a number, got null", short(digest))
		}
	}
	return s, nil
}

// scored is a score with its terms.
type scored struct {
	terms
	score float64
}

// readScore returns the score of what has a digest, out of what a judging stage
// made.
func (r *Runner) readScore(judge *pipeline.Input, o cache.Object, digest string) (scored, error) {
	name := judge.From.Name + "." + judge.FromPort
	if o.Kind != cache.Tree {
		return scored{}, fmt.Errorf("%s is no folder, and %s lies in one", name, scoreName)
	}
	entries, err := r.Store.ReadTree(o.Digest)
	if err != nil {
		return scored{}, fmt.Errorf("%s: %w", name, err)
	}
	i := slices.IndexFunc(entries, func(e manifest.Entry) bool { return e.Path == scoreName })
	if i < 0 {
		return scored{}, fmt.Errorf("%s has no %s, by which unless_worse: %s compares", name, scoreName, judge.Port.Name)
	}
	if size := entries[i].Size; size > maxScoreFile {
		return scored{}, fmt.Errorf("%s/%s has %d bytes, at most %d are read", name, scoreName, size, maxScoreFile)
	}
	b, err := r.Store.ReadBlob(entries[i].Digest)
	if err != nil {
		return scored{}, err
	}
	s, err := parseScores(b)
	if err != nil {
		return scored{}, fmt.Errorf("%s/%s: %w", name, scoreName, err)
	}
	score, ok := s.Scores[digest]
	if !ok {
		return scored{}, fmt.Errorf("%s/%s has no score of %s; it scores %s", name, scoreName, short(digest), listed(s.Scores))
	}
	return scored{terms{Suite: s.Suite, Base: s.Base, Template: s.Template, Judge: judgeOf(judge.From)}, *score}, nil
}

// judgeOf names what scores: kind, version and parameters.
func judgeOf(s *pipeline.Step) string {
	return cache.MakeKey(describeKind(s.Kind, s.Params, nil), nil).String()
}

// listed names the first of the digests that have scores.
func listed(scores map[string]*float64) string {
	const most = 5
	var names []string
	for _, d := range slices.Sorted(maps.Keys(scores)) {
		if len(names) == most {
			names = append(names, fmt.Sprintf("%d more", len(scores)-most))
			break
		}
		names = append(names, short(d))
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// short is a digest as people read it; other text stays as it is.
func short(digest string) string {
	if d, err := manifest.ParseDigest(digest); err == nil {
		return d.Short()
	}
	return digest
}

// differs says in words what keeps a score from being compared with one on terms t;
// "" if nothing does. from names the stage that scores.
func (t terms) differs(old ledgerEntry, from string) string {
	var what []string
	for _, d := range []struct{ name, now, before string }{
		{"suite", t.Suite, old.Suite}, {"base", t.Base, old.Base}, {"template", t.Template, old.Template},
	} {
		if d.now != d.before {
			what = append(what, "another "+d.name)
		}
	}
	if old.Judge != "" && old.Judge != t.Judge {
		what = append(what, "another version or other parameters of "+from)
	}
	if old.Score == nil {
		return "its score is not known"
	}
	if len(what) == 0 {
		return ""
	}
	return "it was scored with " + strings.Join(what, " and ")
}
