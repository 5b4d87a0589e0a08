package stages

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"pipe/internal/document"
	"pipe/internal/problem"
)

// Kind is a stage kind, made by Define or DefineOpen.
type Kind struct {
	Name    string
	Version string // raised when equal inputs and parameters give other bytes
	Summary string // one sentence

	Inputs  []InputPort
	Outputs []OutputPort
	// Open kinds take whatever ports a stage declares (command).
	Open bool

	params   reflect.Type
	defaults func() reflect.Value // of params; must not be changed
	run      runFunc
	checks   map[string]func(path string) error
	check    runFunc
	quick    bool
}

// InputPort is an input that a kind declares:
//
//	Data stages.Input `port:"data" type:"file" help:"…"`
//	Base stages.Input `port:"base" files:"config.json,*.safetensors" reference:"true" help:"…"`
type InputPort struct {
	Name      string
	Type      string // type:"file" or "folder"; "" is either
	Help      string
	Files     []string // patterns of files read from a folder; none is all
	Optional  bool     // optional:"true"
	Reference bool     // the kind's output depends on the reference as written
}

// OutputPort is an output that a kind declares:
//
//	Data string `port:"data" type:"file" help:"…"`
type OutputPort struct {
	Name     string
	Help     string
	Folder   bool // type:"folder"
	Optional bool // optional:"true": the kind may leave it out
	Scores   bool // scores:"true": there is a score.json in the folder
}

// Type is "file" or "folder".
func (o OutputPort) Type() string {
	if o.Folder {
		return "folder"
	}
	return "file"
}

// Define declares a kind. P's fields carry document tags, and
//
//	key:"-" why:"…"  the parameter cannot change output bytes and is no part of the key
//	key:"stop"       it says when to stop, and shapes nothing before
//
// I's fields are Inputs and O's are strings, with port tags. Define panics on a
// tag that makes no sense, and the first use on a default that does not decode, so that
// every test of the kind finds it.
func Define[P, I, O any](name, version, summary string, run func(ctx context.Context, env *Env, p P, in I, out O) error) *Kind {
	k := &Kind{Name: name, Version: version, Summary: summary, params: reflect.TypeFor[P](),
		Inputs: inputPorts(name, reflect.TypeFor[I]()), Outputs: outputPorts(name, reflect.TypeFor[O]())}
	k.checkParams()
	k.run = func(ctx context.Context, env *Env, c Call) error {
		var in I
		var out O
		fillInputs(reflect.ValueOf(&in).Elem(), c.Inputs)
		fillOutputs(reflect.ValueOf(&out).Elem(), c.Outputs)
		return run(ctx, env, *c.Params.(*P), in, out)
	}
	return k
}

// DefineOpen declares a kind whose stages declare their own ports.
func DefineOpen[P any](name, version, summary string, run func(ctx context.Context, env *Env, p P, in map[string]Input, out map[string]string) error) *Kind {
	k := &Kind{Name: name, Version: version, Summary: summary, params: reflect.TypeFor[P](), Open: true}
	k.checkParams()
	k.run = func(ctx context.Context, env *Env, c Call) error {
		return run(ctx, env, *c.Params.(*P), c.Inputs, c.Outputs)
	}
	return k
}

// CheckInput has check look at what is connected to a port, before anything runs, if
// it lies in the workspace: so that a mistake in it does not show after hours. check
// returns a problem.List.
func (k *Kind) CheckInput(port string, check func(path string) error) *Kind {
	if _, ok := k.Input(port); !ok {
		panic(fmt.Sprintf("internal error: %s has no input %q to check", k.Name, port))
	}
	if k.checks == nil {
		k.checks = map[string]func(path string) error{}
	}
	k.checks[port] = check
	return k
}

// InputCheck returns what CheckInput was given for a port, or nil.
func (k *Kind) InputCheck(port string) func(path string) error { return k.checks[port] }

// LiteralDollar stands for a dollar sign of a value in parameters with the tag
// references:"ports", where ${in.PORT} and ${out.PORT} are left to the kind. It
// cannot occur in a pipeline file.
const LiteralDollar = "\x00"

var portName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// ValidPortName says whether a port may have that name.
func ValidPortName(name string) bool { return portName.MatchString(name) && len(name) <= 64 }

func inputPorts(kind string, t reflect.Type) []InputPort {
	var ports []InputPort
	for i := range t.NumField() {
		f := t.Field(i)
		p := InputPort{Name: f.Tag.Get("port"), Type: f.Tag.Get("type"), Help: f.Tag.Get("help"), Optional: f.Tag.Get("optional") == "true", Reference: f.Tag.Get("reference") == "true"}
		if files := f.Tag.Get("files"); files != "" {
			p.Files = strings.Split(files, ",")
		}
		if !ValidPortName(p.Name) || p.Help == "" || f.Type != reflect.TypeFor[Input]() {
			panic(fmt.Sprintf("internal error: %s: input %s needs port and help tags and the type stages.Input", kind, f.Name))
		}
		for _, pattern := range p.Files {
			if _, err := filepath.Match(pattern, ""); err != nil {
				panic(fmt.Sprintf("internal error: %s: input %s: pattern %q", kind, f.Name, pattern))
			}
		}
		ports = append(ports, p)
	}
	return ports
}

func outputPorts(kind string, t reflect.Type) []OutputPort {
	var ports []OutputPort
	for i := range t.NumField() {
		f := t.Field(i)
		p := OutputPort{Name: f.Tag.Get("port"), Help: f.Tag.Get("help"), Folder: f.Tag.Get("type") == "folder", Optional: f.Tag.Get("optional") == "true", Scores: f.Tag.Get("scores") == "true"}
		if !ValidPortName(p.Name) || p.Help == "" || f.Type.Kind() != reflect.String || p.Type() != f.Tag.Get("type") {
			panic(fmt.Sprintf("internal error: %s: output %s needs port, type and help tags and the type string", kind, f.Name))
		}
		ports = append(ports, p)
	}
	return ports
}

func (k *Kind) checkParams() {
	checkTags(k.Name, k.params)
	// Every default must decode, and the zero value of the parameters must not be needed.
	// The first use finds out: to do so here would take a third of the time that a run
	// needs to start.
	k.defaults = sync.OnceValue(func() reflect.Value {
		value := reflect.New(k.params)
		document.Decode(nil, value.Interface(), "parameter", &document.Node{Kind: document.Map})
		return value.Elem()
	})
}

func checkTags(kind string, t reflect.Type) {
	for _, f := range document.Describe(t) {
		if f.Help == "" {
			panic(fmt.Sprintf("internal error: %s: parameter %s needs a help tag", kind, f.Name))
		}
		switch key := f.Tag.Get("key"); {
		case key != "" && key != "-" && key != "stop":
			panic(fmt.Sprintf("internal error: %s: parameter %s: key tag %q", kind, f.Name, key))
		case key == "-" && f.Tag.Get("why") == "":
			panic(fmt.Sprintf("internal error: %s: parameter %s is not in the key: needs a why tag", kind, f.Name))
		}
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[document.Node]() {
			checkTags(kind+"."+f.Name, f.Type)
		}
	}
}

func fillInputs(v reflect.Value, inputs map[string]Input) {
	for i := range v.NumField() {
		v.Field(i).Set(reflect.ValueOf(inputs[v.Type().Field(i).Tag.Get("port")]))
	}
}

func fillOutputs(v reflect.Value, outputs map[string]string) {
	for i := range v.NumField() {
		v.Field(i).SetString(outputs[v.Type().Field(i).Tag.Get("port")])
	}
}

// Params are a kind's decoded parameters.
type Params struct {
	kind  *Kind
	value any // pointer to the parameter struct
	node  *document.Node
}

// Decode reads a stage's parameters. with may be nil; at is then the place of what
// is missing.
func (k *Kind) Decode(with, at *document.Node) (Params, problem.List) {
	value := reflect.New(k.params).Interface()
	problems := document.Decode(with, value, "parameter", at)
	if with == nil {
		with = at
	}
	return Params{kind: k, value: value, node: with}, problems
}

// Refuser is implemented by parameters that can be well formed and yet cannot be
// honoured by this build. It is asked before a run, and only for stages of the
// run; report's arguments are those of document.Checker.
type Refuser interface {
	Refuse(report func(field, message, hint string))
}

// Refused returns what this build cannot do of what the parameters ask for.
func (p Params) Refused() problem.List {
	var problems problem.List
	if r, ok := p.value.(Refuser); ok {
		r.Refuse(func(field, message, hint string) {
			pr := p.node.Find(field).Problem("%s: %s", field, message)
			pr.Hint = hint
			problems.Add(pr)
		})
	}
	return problems
}

// At is the place of a parameter in the file, or of the nearest of the maps around it;
// nil if the file says nothing of it.
func (p Params) At(field string) *document.Node {
	first, _, _ := strings.Cut(field, ".")
	if p.node.Get(first) == nil {
		return nil
	}
	return p.node.Find(field)
}

// Value is the pointer to the kind's parameter struct.
func (p Params) Value() any { return p.value }

// Run runs the kind.
func (k *Kind) Run(ctx context.Context, env *Env, p Params, inputs map[string]Input, outputs map[string]string) error {
	return k.run(ctx, env, Call{Params: p.value, Inputs: inputs, Outputs: outputs})
}

// Input returns the declared input port of that name.
func (k *Kind) Input(name string) (InputPort, bool) {
	for _, p := range k.Inputs {
		if p.Name == name {
			return p, true
		}
	}
	return InputPort{Name: name}, k.Open
}

// Fields lists the kind's parameters in order of declaration.
func (k *Kind) Fields() []document.Field { return document.Describe(k.params) }

var attachmentName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)

// ValidAttachmentName says whether an attachment may have that name.
func ValidAttachmentName(name string) bool { return attachmentName.MatchString(name) }
