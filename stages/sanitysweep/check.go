package sanitysweep

import (
	"context"
	"fmt"
	"os"

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

// readTurns reads what the users of a data set say.
func readTurns(path string) ([]eval.Turn, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := chat.ReadRecords(f, path, 1)
	if err != nil {
		return nil, err
	}
	var turns []eval.Turn
	for _, r := range records {
		for _, m := range r.Messages {
			if m.Role == chat.User {
				turns = append(turns, eval.Turn{Text: m.Content, Line: r.Line})
			}
		}
	}
	return turns, nil
}

// check holds the suite to the training data.
func check(_ context.Context, env *stages.Env, _ Params, in Inputs) error {
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
	turns, err := readTurns(in.Data.Path)
	if err != nil {
		return err
	}
	_, excluded, err := suite.WithoutTrained(turns)
	for _, e := range excluded {
		env.Advise(stages.Remark{Port: "suite", File: in.Suite.Path, Line: e.Line,
			Message: fmt.Sprintf("group %q: the prompt %q is in the training data (%s:%d): it is left out of the score", e.Group, e.Prompt, in.Data.Path, e.Trained),
			Hint:    "ask something that was not trained on"})
	}
	return err
}
