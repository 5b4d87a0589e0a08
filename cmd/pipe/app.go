package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"pipe/cache"
	"pipe/internal/logging"
	"pipe/internal/redact"
	"pipe/models"
	"pipe/pipeline"
	"pipe/pipeline/runner"
	"pipe/pipeline/source"
	"pipe/stages"
	"pipe/stages/builtin"
)

// commands is the command line. Each command has a file of its own.
type commands struct {
	runAlone
	Check    checkCommand    `cmd:"" help:"Find every mistake in a pipeline and every setting that makes no sense; run nothing."`
	Fmt      fmtCommand      `cmd:"" help:"Write a pipeline file in its one form; comments and meaning stay."`
	Status   statusCommand   `cmd:"" help:"Show what is up to date and what would run."`
	Graph    graphCommand    `cmd:"" help:"Draw a pipeline with the state of each stage."`
	Get      getCommand      `cmd:"" help:"Copy an output of the last run out of the store."`
	Log      logCommand      `cmd:"" help:"Print the log of a stage in the last run."`
	Why      whyCommand      `cmd:"" help:"Say why a stage ran, or would run: down to the record, parameter or file."`
	Runs     runsCommand     `cmd:"" help:"List the runs, newest first."`
	Diff     diffCommand     `cmd:"" help:"Say in what two runs differ: parameters, records, metrics, scores, outputs."`
	Metrics  metricsCommand  `cmd:"" help:"Draw the curves of a training; several runs over one another."`
	Lineage  lineageCommand  `cmd:"" help:"Say what made a published model: records, parameters, base, code."`
	Rollback rollbackCommand `cmd:"" help:"Put an earlier version back where a folder is published."`
	Chat     chatCommand     `cmd:"" help:"Talk to an adapter, or have it answer a file of prompts."`
	Sanity   sanityCommand   `cmd:"" help:"Ask an adapter the questions of a suite."`
	Verify   verifyCommand   `cmd:"" help:"Read the store and what is published; list all that is damaged, and make it again (--repair). Exits with 1 if something is damaged and was not repaired."`
	Gc       gcCommand       `cmd:"" help:"Remove from the store what nothing needs, or what is old or too large."`
	Store    storeCommand    `cmd:"" help:"Show what takes the store's space, and what gc could free; pin runs."`
	Init     initCommand     `cmd:"" help:"Write the example pipeline, its data and the schema into a folder."`
	Stages   stagesCommand   `cmd:"" help:"List the stage kinds, or describe one."`
	Schema   schemaCommand   `cmd:"" help:"Print the JSON Schema of pipeline files."`

	Schedule scheduleCommand `cmd:"" help:"Print what systemd, cron, GitHub or GitLab needs to run a pipeline at times."`

	Version versionCommand `cmd:"" help:"Print the version."`

	Completion completionCommand `cmd:"" help:"Print a script that completes pipe's command line in a shell."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print what may stand in the place of the last word."`
}

// runAlone is the one command that scripts and schedules start again and again: it does not
// wait for kong to learn all others.
type runAlone struct {
	Run runCommand `cmd:"" help:"Bring a pipeline up to date."`
}

// storeFlag is shared by the commands that use the store.
type storeFlag struct {
	Store string `help:"The store's folder." env:"PIPE_STORE" default:".pipe" placeholder:"DIR"`
}

// defaultStore is the default of storeFlag.
const defaultStore = ".pipe"

// profileFlag is shared by the commands that resolve a file.
type profileFlag struct {
	Profile profileNames `help:"The profile of the file; several are laid over one another, the last on top: --profile a,b." placeholder:"NAME" sep:"none"`
}

// profile is the profile's name: of several a+b.
func (f *profileFlag) profile() string { return strings.Join(f.Profile.split(), pipeline.ProfileJoin) }

// profileNames are the values of --profile, each a name or several with commas.
type profileNames []string

func (p profileNames) split() []string {
	var names []string
	for _, value := range p {
		names = append(names, strings.Split(value, ",")...)
	}
	return names
}

// Validate is called by kong. An empty name is most likely a variable of a script that is
// not set, and the file as it stands would not be what was meant.
func (p profileNames) Validate() error {
	if slices.Contains(p.split(), "") {
		return fmt.Errorf("a name is empty in %q; without the flag the file stands as it is", strings.Join(p, ","))
	}
	return nil
}

// app is what the commands work with.
type app struct {
	ctx            context.Context
	stop           *interrupts
	stdout, stderr io.Writer
	log            logging.Logger
	kinds          *stages.Registry
	sources        source.Sources
}

// Main runs the command line and returns the exit code.
func Main() int {
	delayCollection()
	ctx, stop, release := interruptible()
	defer release()
	defer releaseTerminal() // in a panic too
	a := &app{ctx: ctx, stop: stop, stdout: standardOutput(os.Stdout), stderr: os.Stderr, log: logging.New(os.Stderr),
		kinds: builtin.Kinds(), sources: source.Sources{Builtin: models.Builtin()}}
	return a.main(os.Args[1:])
}

func (a *app) main(args []string) int {
	var cli any = &commands{}
	if len(args) > 0 && args[0] == "run" {
		cli = &runAlone{}
	}
	parser, err := kong.New(cli, kong.Name("pipe"), kong.Writers(a.stdout, a.stderr), kong.UsageOnError(),
		kong.Description("Runs a pipeline that fine-tunes a Mistral model, and caches every step by content.\n\n"+exitCodes),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Exit(func(code int) { panic(exitRequest(code)) }))
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return a.finish(func() error {
		if len(args) == 0 {
			args = []string{"--help"}
		}
		ctx, err := parser.Parse(args)
		if err != nil {
			return usageError{err}
		}
		return ctx.Run(a)
	})
}

// A program that does not end for a second Ctrl-C is ended.
const lastGrace = 2 * time.Second

// interrupts is closed by the first Ctrl-C or SIGTERM. It ends the command's context,
// too, unless the command took it over by Take, to end in its own time.
type interrupts struct {
	first chan struct{}
	taken atomic.Bool
}

// Take makes the first interrupt close the returned channel and nothing else.
func (i *interrupts) Take() <-chan struct{} {
	i.taken.Store(true)
	return i.first
}

// interruptible returns a context that ends with the first interrupt that nobody has
// taken, or with the second. The process does not outlive the second for long, nor a third.
func interruptible() (context.Context, *interrupts, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	in := &interrupts{first: make(chan struct{})}
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		close(in.first)
		if !in.taken.Load() {
			cancel()
		}
		<-signals
		cancel()
		select {
		case <-signals:
		case <-time.After(lastGrace):
		}
		releaseTerminal()
		os.Exit(exitInterrupted)
	}()
	return ctx, in, func() { signal.Stop(signals); cancel() }
}

// isPipelineFile says whether an argument names a file and not a stage.
func isPipelineFile(arg string) bool {
	return strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml")
}

// defaultPipelines is where run looks for a file when none is named.
const defaultPipelines = "pipelines"

// onlyPipeline returns the one file in pipelines/.
func onlyPipeline() (string, error) {
	var found []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		matches, _ := filepath.Glob(filepath.Join(defaultPipelines, pattern))
		found = append(found, matches...)
	}
	slices.Sort(found)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", usageError{fmt.Errorf("no pipeline file is named, and there is none in %s/ (pipe init writes an example)", defaultPipelines)}
	}
	return "", usageError{fmt.Errorf("no pipeline file is named, and %s/ has several: %s", defaultPipelines, strings.Join(found, ", "))}
}

// resolve reads a pipeline file and makes its plan.
func (a *app) resolve(path, profile string, sets []string) (*pipeline.Plan, error) {
	f, err := pipeline.Read(path)
	if err != nil {
		return nil, usageError{err}
	}
	plan, err := f.Resolve(a.kinds, pipeline.Options{Profile: profile, Set: sets})
	if err != nil {
		return nil, usageError{err}
	}
	return plan, nil
}

// newRunner returns a runner of a plan on this machine.
func (a *app) newRunner(plan *pipeline.Plan, store *cache.Store) *runner.Runner {
	dir, _ := os.Getwd()
	return &runner.Runner{Plan: plan, Store: store, Sources: a.sources, Machine: runner.Machine(), Version: version(), Dir: dir,
		Device: stages.Device{Tier: os.Getenv("PIPE_CPU")}}
}

// openStore opens the store, and makes it if it is not there, or fails as
// infrastructure.
func openStore(dir string) (*cache.Store, error) { return storeBy(cache.Open, dir) }

// peekStore opens the store for commands that only look: they leave nothing behind
// where there is none.
func peekStore(dir string) (*cache.Store, error) { return storeBy(cache.OpenToRead, dir) }

func storeBy(open func(string) (*cache.Store, error), dir string) (*cache.Store, error) {
	store, err := open(dir)
	if err != nil {
		return nil, infrastructureError{err}
	}
	return store, nil
}

// lastRun returns the newest run in the store that keep accepts; nil keeps all. Of a
// store that several projects share, runs of this folder come first.
func lastRun(store *cache.Store, keep func(p *runner.Past) bool) (*runner.Past, error) {
	dir, _ := os.Getwd()
	var found *runner.Past
	err := runner.EachPast(store, func(p *runner.Past) bool {
		if keep != nil && !keep(p) {
			return true
		}
		if found == nil || p.Start.Dir == dir {
			found = p
		}
		return found.Start.Dir != dir
	})
	if err == nil && found == nil {
		err = usageError{fmt.Errorf("the store %s knows no such run (pipe run FILE makes one)", store.Dir())}
	}
	return found, err
}

// planFor returns the plan for a file, or without one for the newest run's, with its
// profile and --set.
func (a *app) planFor(store *cache.Store, file, profile string, sets []string) (*pipeline.Plan, error) {
	if file == "" {
		last, err := lastRun(store, nil)
		if err != nil {
			return nil, err
		}
		file = last.Start.File
		if !filepath.IsAbs(file) {
			file = filepath.Join(last.Start.Dir, file)
		}
		if dir, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(dir, file); err == nil && !strings.HasPrefix(rel, "..") {
				file = rel
			}
		}
		if profile == "" && last.Start.Profile != pipeline.DefaultProfile {
			profile = last.Start.Profile
		}
		if dir, err := os.Getwd(); err == nil && len(sets) == 0 && dir == last.Start.Dir {
			sets = last.Start.Set
			for _, set := range sets {
				if strings.Contains(set, redact.Hidden) {
					return nil, usageError{fmt.Errorf("the newest run was given --set %s, a secret that is not kept: name the pipeline file", set)}
				}
			}
		}
	}
	return a.resolve(file, profile, sets)
}
