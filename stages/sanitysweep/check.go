package sanitysweep

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"pipe/runtime/chat"
	"pipe/runtime/eval"
	"pipe/stages"
)

// checkSuite reads a suite before the training that it will judge.
func checkSuite(path string) error {
	_, err := readSuite(path)
	return err
}

func readSuite(path string) (*eval.Suite, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return eval.ParseSuite(path, text)
}

func readRecords(path string) ([]chat.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return chat.ReadRecords(f, path, 1)
}

// turnsOf lists what the users of a data set say.
func turnsOf(records []chat.Record) []eval.Turn {
	var turns []eval.Turn
	for _, r := range records {
		for _, m := range r.Messages {
			if m.Role == chat.User {
				turns = append(turns, eval.Turn{Text: m.Content, Line: r.Line})
			}
		}
	}
	return turns
}

// check holds the suite and the compliments to the training data.
func check(_ context.Context, env *stages.Env, p Params, in Inputs) error {
	for _, text := range p.Compliments {
		if words := len(strings.Fields(text)); words > p.MaxNewTokens { // no token is more than a word
			env.Advise(stages.Remark{Param: "max_new_tokens", Message: fmt.Sprintf("max_new_tokens %d cuts every answer within the compliment %q", p.MaxNewTokens, text)})
			break
		}
	}
	if in.Suite.Path == "" {
		return nil
	}
	suite, err := readSuite(in.Suite.Path)
	if err != nil {
		return err
	}
	for _, text := range suite.Thin() {
		env.Advise(stages.Remark{Port: "suite", Message: text, Hint: "more prompts make it mean more"})
	}
	if in.Data.Path == "" {
		if !in.Data.Pending {
			env.Advise(stages.Remark{Message: "data is not connected: prompts that were trained on are asked and counted", Hint: "in: { data: … }: the training data"})
		}
		return nil
	}
	records, err := readRecords(in.Data.Path)
	if err != nil {
		return err
	}
	missing := untaught(p.Compliments, records)
	if few := len(records) < 10*len(p.Compliments); few && len(missing) < len(p.Compliments) {
		missing = nil // chance
	}
	for _, text := range missing {
		env.Advise(stages.Remark{Param: "compliments", Message: fmt.Sprintf("%q opens no answer of the training data", text), Hint: "one list for this stage and for normalize-compliments: params"})
	}
	_, excluded, err := suite.WithoutTrained(turnsOf(records))
	for _, e := range excluded {
		env.Advise(stages.Remark{Port: "suite", File: in.Suite.Path, Line: e.Line,
			Message: fmt.Sprintf("group %q: the prompt %q is in the training data (%s:%d): it is left out of the score", e.Group, e.Prompt, in.Data.Path, e.Trained),
			Hint:    "ask something that was not trained on"})
	}
	return err
}

// untaught lists the compliments with which no reply begins.
func untaught(compliments []string, records []chat.Record) []string {
	taught := map[string]bool{}
	for _, r := range records {
		for _, m := range r.Messages {
			if m.Role != chat.Assistant {
				continue
			}
			for _, text := range compliments {
				taught[text] = taught[text] || strings.HasPrefix(m.Content, text)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(compliments), func(text string) bool { return taught[text] })
}
