package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pipe/internal/program"
	"pipe/stages"
)

// check looks for the program of an argv that names one.
func check(_ context.Context, env *stages.Env, p Params, _ struct{}) error {
	if len(p.Argv) == 0 || portReference.MatchString(p.Argv[0].Text) {
		return nil
	}
	name := p.Argv[0].Text
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		env.Advise(stages.Remark{Param: "argv", Message: fmt.Sprintf("%s is looked for in the stage's private folder, where nothing is", name),
			Hint: fmt.Sprintf("make it an input: in: { tool: %s }, argv: [\"${in.tool}\", …]", name)})
		return nil
	}
	if _, err := program.Find(name, os.Getenv("PATH")); err != nil {
		env.Advise(stages.Remark{Param: "argv", Message: fmt.Sprintf("there is no program %s that could be run", name), Hint: "programs are looked for in the absolute folders of PATH"})
	}
	return nil
}
