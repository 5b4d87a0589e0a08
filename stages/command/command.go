// Package command is the stage kind that runs any program.
//
// A stage declares its own ports. The program finds their paths, and the stage's
// parameters, in its arguments (argv) or in environment variables (shell). Values
// are never pasted into a shell's text.
package command

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"pipe/internal/document"
	"pipe/stages"
)

// Kind is the stage kind "command".
var Kind = stages.Checked(stages.DefineOpen("command", "1",
	"Runs a program; a stage of this kind declares its own inputs and outputs.", run), check)

// Params are the parameters of a command stage.
type Params struct {
	Argv   []*document.Node          `yaml:"argv" references:"ports" help:"the program and its arguments; ${in.PORT} and ${out.PORT} are paths"`
	Shell  string                    `yaml:"shell" references:"none" help:"a script for /bin/sh, instead of argv; values are in $PIPE_IN_PORT, $PIPE_OUT_PORT and $PIPE_PARAM_NAME"`
	Values map[string]*document.Node `yaml:"params" help:"scalars that the program finds in $PIPE_PARAM_NAME"`

	CanResume bool `yaml:"resumable" default:"false" key:"-" why:"it says what happens after an interruption, not what is made" help:"the program goes on from what it keeps in the folder $PIPE_STATE, which outlives it until its outputs are committed"`
}

// Resumable says whether the program can go on from what it kept.
func (p *Params) Resumable() bool { return p.CanResume }

// longestArgument is what Linux takes as one argument or variable (MAX_ARG_STRLEN less
// the NUL at the end).
const longestArgument = 128<<10 - 1

const tooLongHint = "put it into a file and make that an input: in: { text: ./long.txt }"

var valueName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Check finds what the types of the parameters do not show.
func (p *Params) Check(report func(field, message, hint string)) {
	switch {
	case len(p.Argv) > 0 && p.Shell != "":
		report("shell", "a command has argv or shell, not both", "")
	case len(p.Argv) == 0 && p.Shell == "":
		report("argv", "a command needs argv or shell", "as in: with: { argv: [tr, a-z, A-Z] }")
	}
	if strings.Contains(strings.ReplaceAll(p.Shell, "$${", " "), "${") {
		report("shell", "${…} is not replaced in shell: values arrive as environment variables",
			"write $PIPE_IN_SRC for ${in.src}, $PIPE_OUT_DST for ${out.dst}, and hand parameters over by params: { level: … } as $PIPE_PARAM_LEVEL; $${VAR-default} is the shell's own ${VAR-default}")
	}
	if len(p.Shell) > longestArgument {
		report("shell", fmt.Sprintf("has %d bytes; the system allows %d", len(p.Shell), longestArgument), tooLongHint)
	}
	for i, arg := range p.Argv {
		if len(arg.Text) > longestArgument {
			report("argv", fmt.Sprintf("argument %d has %d bytes; the system allows %d", i, len(arg.Text), longestArgument), tooLongHint)
		}
		if !isScalar(arg) || i == 0 && arg.Text == "" {
			report(fmt.Sprintf("argv[%d]", i), "must be a string, got "+arg.Describe(), "")
		}
	}
	names := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(p.Values)) {
		switch variable := Variable("PARAM", name); {
		case !valueName.MatchString(name):
			report("params."+name, fmt.Sprintf("the name %q must be made of letters, digits, dashes and underscores", name), "")
		case names[variable] != "":
			report("params."+name, fmt.Sprintf("%q and %q are both $%s", names[variable], name, variable), "")
		case !isScalar(p.Values[name]):
			report("params."+name, "must be a scalar, got "+p.Values[name].Describe(), "")
		case len(variable)+1+len(p.Values[name].Text) > longestArgument:
			report("params."+name, fmt.Sprintf("has %d bytes; the system allows %d with the name", len(p.Values[name].Text), longestArgument), tooLongHint)
		default:
			names[variable] = name
		}
	}
}

func isScalar(n *document.Node) bool {
	return n.Kind != document.List && n.Kind != document.Map && n.Kind != document.Null
}

// Variable is the environment variable of a port or parameter: side is "IN", "OUT"
// or "PARAM".
func Variable(side, name string) string {
	return "PIPE_" + side + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func run(ctx context.Context, env *stages.Env, p Params, in map[string]stages.Input, out map[string]string) error {
	argv := []string{"/bin/sh", "-c", strings.ReplaceAll(p.Shell, "$${", "${")}
	if len(p.Argv) > 0 {
		argv = nil
		for _, arg := range p.Argv {
			argv = append(argv, expand(arg.Text, in, out))
		}
	}
	vars := environment(env, p, in, out)
	if env.State == nil {
		return execute(ctx, env, argv, vars)
	}
	dir, err := env.State.Folder()
	if err != nil {
		return err
	}
	env.State.Discard() // with the outputs there, nothing is left to be done
	return execute(ctx, env, argv, append(vars, "PIPE_STATE="+dir))
}

var portReference = regexp.MustCompile(`\x00|\$\$\{|\$\{(in|out)\.([^}]*)\}`)

// expand puts paths in the place of ${in.port} and ${out.port}, once: what a path
// or a parameter holds is not looked at again.
func expand(text string, in map[string]stages.Input, out map[string]string) string {
	return portReference.ReplaceAllStringFunc(text, func(m string) string {
		switch m {
		case "$${":
			return "${"
		case stages.LiteralDollar:
			return "$"
		}
		side, port, _ := strings.Cut(m[2:len(m)-1], ".")
		if side == "in" {
			return in[port].Path
		}
		return out[port]
	})
}
