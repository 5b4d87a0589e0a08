package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"pipe/cache"
	"pipe/pipeline/runner"
)

var (
	//go:embed completion/pipe.bash
	bashCompletion string
	//go:embed completion/pipe.zsh
	zshCompletion string
	//go:embed completion/pipe.fish
	fishCompletion string
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run is called by kong.
func (c *completionCommand) Run(a *app) error {
	script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	_, err := fmt.Fprint(a.stdout, script)
	return err
}

// completeCommand is what the scripts call: with the words behind "pipe", the last of
// them as far as it is typed, it prints a line for each word that may stand in its
// place, and behind a tab what it means. A word that ends in / = or . is not at its
// end. There are no errors: nobody would see them.
type completeCommand struct {
	Words []string `arg:"" optional:"" help:"The command line."`
}

// Run is called by kong.
func (c *completeCommand) Run(a *app, ctx *kong.Context) error {
	words := make([]string, len(c.Words))
	for i, w := range c.Words {
		words[i] = unquoted(w)
	}
	if len(words) == 0 {
		words = []string{""}
	}
	l := completion{app: a, node: ctx.Model.Node, last: words[len(words)-1]}
	for _, candidate := range l.complete(words[:len(words)-1]) {
		if strings.HasPrefix(candidate.word, l.last) {
			fmt.Fprintln(a.stdout, strings.TrimRight(candidate.word+"\t"+candidate.help, "\t"))
		}
	}
	return nil
}

// candidate is a word that may stand in the place of the last.
type candidate struct{ word, help string }

// completion is a command line that is being typed.
type completion struct {
	app  *app
	node *kong.Node // the command so far
	last string

	file   string // the pipeline file that was named
	store  string
	values int // positional arguments before the last word
}

// complete reads the words before the last and returns what may follow.
func (l *completion) complete(before []string) []candidate {
	flags := true // until --
	l.store = defaultStore
	if dir := os.Getenv("PIPE_STORE"); dir != "" {
		l.store = dir
	}
	for i := 0; i < len(before); i++ {
		word := before[i]
		switch name, value, given := strings.Cut(word, "="); {
		case flags && word == "--":
			flags = false
		case flags && strings.HasPrefix(word, "-") && word != "-":
			flag := l.flag(name)
			if flag == nil || given || flag.IsBool() {
				l.noteStore(flag, value)
				continue
			}
			if i++; i == len(before) {
				return l.valuesOf(flag.Value, l.last, "")
			}
			l.noteStore(flag, before[i])
		default:
			l.positional(word)
		}
	}
	if flags && strings.HasPrefix(l.last, "-") {
		if name, value, given := strings.Cut(l.last, "="); given {
			if flag := l.flag(name); flag != nil {
				return l.valuesOf(flag.Value, value, name+"=")
			}
			return nil
		}
		return l.flagNames()
	}
	if commands := l.commands(); len(commands) > 0 {
		return commands
	}
	if args := l.node.Positional; len(args) > 0 {
		arg := args[min(l.values, len(args)-1)]
		if l.values < len(args) || arg.IsCumulative() {
			return l.valuesOf(arg, l.last, "")
		}
	}
	return nil
}

func (l *completion) noteStore(flag *kong.Flag, value string) {
	if flag != nil && flag.Name == "store" {
		l.store = value
	}
}

// positional takes a word that is no flag: a command, or an argument of one.
func (l *completion) positional(word string) {
	for _, child := range l.node.Children {
		if child.Name == word {
			l.node = child
			return
		}
	}
	if isPipelineFile(word) && l.file == "" {
		l.file = word
	}
	l.values++
}

func (l *completion) commands() []candidate {
	var list []candidate
	for _, child := range l.node.Children {
		if !child.Hidden {
			list = append(list, candidate{child.Name, child.Help})
		}
	}
	return list
}

// flag returns the flag that is written as --name or -n, or nil.
func (l *completion) flag(written string) *kong.Flag {
	for _, group := range l.node.AllFlags(false) {
		for _, f := range group {
			if written == "--"+f.Name || f.Short != 0 && written == "-"+string(f.Short) {
				return f
			}
		}
	}
	return nil
}

func (l *completion) flagNames() []candidate {
	var list []candidate
	for _, group := range l.node.AllFlags(true) {
		for _, f := range group {
			list = append(list, candidate{"--" + f.Name, f.Help})
		}
	}
	return list
}

// valuesOf lists the values that a flag or argument takes: its choices, or what is
// known under the name of what it takes: its complete tag, its placeholder or its own
// name. typed is what there is of the value, prefix what stands before it in the word.
func (l *completion) valuesOf(v *kong.Value, typed, prefix string) []candidate {
	var list []candidate
	if v.Enum != "" {
		for _, choice := range v.EnumSlice() {
			list = append(list, candidate{word: choice})
		}
	} else {
		what := v.Tag.Get("complete")
		if what == "" && v.Flag != nil && v.Flag.PlaceHolder != "" {
			what = strings.ToLower(v.Flag.PlaceHolder)
		}
		if what == "" || what == "name" || what == "key=value" {
			what = v.Name
		}
		list = l.named(what, typed)
	}
	for i := range list {
		list[i].word = prefix + list[i].word
	}
	return list
}

// named lists the values of a kind of thing.
func (l *completion) named(what, typed string) []candidate {
	switch what {
	case "file":
		list := paths(typed, isPipelineFile)
		if l.node.Name == "run" { // whose first argument may be a stage too
			list = append(list, l.stages()...)
		}
		return list
	case "stage":
		return l.stages()
	case "stage.port":
		return l.ports()
	case "profile":
		return l.profiles(typed)
	case "set":
		return l.settings(typed)
	case "run":
		return l.runs()
	case "name":
		if l.node.Name == "stages" {
			var list []candidate
			for _, k := range l.app.kinds.All() {
				list = append(list, candidate{k.Name, k.Summary})
			}
			return list
		}
	case "dir", "adapter", "checkpoint":
		return paths(typed, nil)
	case "suite", "file.yaml":
		return paths(typed, isPipelineFile)
	case "file.jsonl":
		return paths(typed, func(name string) bool { return strings.HasSuffix(name, ".jsonl") })
	case "path":
		return paths(typed, func(string) bool { return true })
	}
	return nil
}

// paths lists folders, and the files that match; none of them hidden unless a dot is
// typed. matches nil is folders alone.
func paths(typed string, matches func(name string) bool) []candidate {
	dir, start := filepath.Split(typed)
	look := dir
	if look == "" {
		look = "."
	}
	entries, err := os.ReadDir(look)
	if err != nil {
		return nil
	}
	var list []candidate
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") && !strings.HasPrefix(start, ".") || !utf8.ValidString(name) || strings.ContainsAny(name, "\t\n") {
			continue
		}
		info, err := os.Stat(filepath.Join(look, name))
		switch {
		case err != nil:
		case info.IsDir():
			list = append(list, candidate{word: dir + name + "/"})
		case matches != nil && matches(name):
			list = append(list, candidate{word: dir + name})
		}
	}
	return list
}

// shownRuns is how many runs are offered: the newest.
const shownRuns = 20

func (l *completion) runs() []candidate {
	var list []candidate
	l.eachRun(func(p *runner.Past) bool {
		list = append(list, candidate{p.ID, fmt.Sprintf("%s (%s)", p.Start.Pipeline, p.Start.Profile)})
		return len(list) < shownRuns
	})
	return list
}

func (l *completion) newest() *runner.Past {
	var newest *runner.Past
	l.eachRun(func(p *runner.Past) bool {
		newest = p
		return false
	})
	return newest
}

// eachRun visits the runs in the store, the newest first. It makes no store.
func (l *completion) eachRun(visit func(p *runner.Past) bool) {
	if store, err := cache.OpenToRead(l.store); err == nil {
		_ = runner.EachPast(store, visit) // nothing to offer, then
	}
}

// unquoted takes the quotes and backslashes of a shell away from a word; a quote may
// still be open.
func unquoted(word string) string {
	var b strings.Builder
	quote := rune(0)
	escaped := false
	for _, r := range word {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case r == quote:
			quote = 0
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
