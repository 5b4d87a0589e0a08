package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"pipe/internal/document"
	"pipe/internal/problem"
	"pipe/internal/stagename"
	"pipe/stages"
)

// Options choose what a File is resolved for.
type Options struct {
	Profile string   // "" is the default one; a+b lays b over a
	Set     []string // stage.key=value or params.key=value
}

// Resolve makes the plan for a profile. Every other profile is resolved too, so
// that a mistake in one is found before the night it is needed. The error is a
// problem.List with all that is wrong.
func (f *File) Resolve(kinds *stages.Registry, opts Options) (*Plan, error) {
	if opts.Profile == "" {
		opts.Profile = DefaultProfile
	}
	names := append([]string{DefaultProfile}, f.Profiles()...)
	if err := f.checkStack(opts.Profile, names); err != nil {
		return nil, err
	}
	if !slices.Contains(names, opts.Profile) {
		names = append(names, opts.Profile)
	}
	sets, problems := parseSets(opts.Set, f.stages, f.params)
	problems = append(problems, f.problems...)
	var plan *Plan
	used := map[string]bool{}
	for _, name := range names {
		r := &resolver{file: f, kinds: kinds}
		params, stageNodes := f.params, f.stages
		for _, overlay := range f.overlays(name) {
			params = document.Merge(params, known(overlay.Get("params"), f.params))
			stageNodes = document.Merge(stageNodes, known(overlay.Get("stages"), f.stages))
		}
		if name == opts.Profile {
			params, stageNodes = document.Merge(params, sets.Get("params")), document.Merge(stageNodes, sets.Get("stages"))
		}
		r.scope = newScope(f.Name, name, params, &r.problems)
		p := r.resolve(stageNodes)
		p.Profile = name
		p.Hooks, p.hookAt = r.resolveHooks()
		if name == opts.Profile {
			plan = p
			plan.Set = opts.Set
		}
		problems = append(problems, r.problems...)
		for param := range r.scope.resolved {
			used[param] = true
		}
	}
	if err := unique(problems).Err(); err != nil {
		return nil, err
	}
	plan.Remarks = append(plan.Remarks, f.unusedParams(used)...)
	return plan, nil
}

// known is the part of a profile's changes that change something; what it lacks was
// reported when the file was parsed.
func known(changes, base *document.Node) *document.Node {
	if changes == nil {
		return nil
	}
	c := *changes
	c.Entries = nil
	for _, e := range changes.Entries {
		if base.Get(e.Key) != nil {
			c.Entries = append(c.Entries, e)
		}
	}
	return &c
}

// unique drops problems that several profiles share.
func unique(list problem.List) problem.List {
	seen := map[problem.Problem]bool{}
	var out problem.List
	for _, p := range list {
		if !seen[p] {
			out.Add(p)
		}
		seen[p] = true
	}
	return out
}

// resolver builds one plan.
type resolver struct {
	file     *File
	kinds    *stages.Registry
	scope    *scope
	problems problem.List

	plan      *Plan
	templates map[string]*template
	unpaired  map[*document.Node]bool // references that were found to mean nothing
	gathers   int                     // connections of gathered inputs
}

// stageNode is a stage as it stands in the file.
type stageNode struct {
	Uses      *document.Node `yaml:"uses" help:"the stage kind; default: the stage's name"`
	In        *document.Node `yaml:"in" help:"input ports"`
	Out       *document.Node `yaml:"out" help:"output ports, of kinds that leave them to the stage"`
	With      *document.Node `yaml:"with" help:"parameters"`
	Publish   *document.Node `yaml:"publish" help:"outputs to put at a path"`
	Matrix    *document.Node `yaml:"matrix" help:"variables and their values, of which every combination is a stage"`
	Resources *document.Node `yaml:"resources" help:"what the stage takes of the machine"`
	Env       *document.Node `yaml:"env" help:"environment variables that the program sees"`
	Secrets   *document.Node `yaml:"secrets" help:"environment variables that the program sees and nobody else"`
	Tools     *document.Node `yaml:"tools" help:"programs on PATH that the stage uses"`
	Timeout   *document.Node `yaml:"timeout" help:"how long an attempt may take"`
	Retries   *document.Node `yaml:"retries" help:"how often a stage that fails is tried again"`
}

func (r *resolver) resolve(stageNodes *document.Node) *Plan {
	plan := &Plan{Name: r.file.Name, File: r.file.Path}
	r.plan, r.templates, r.unpaired = plan, map[string]*template{}, map[*document.Node]bool{}
	plan.Totals = r.totals(r.file.resources)
	var order []*template
	budget := document.MaxStages
	if stageNodes != nil {
		budget -= len(stageNodes.Entries)
		for _, e := range stageNodes.Entries {
			if t := r.declare(e, budget+1); t != nil {
				order = append(order, t)
				budget -= len(t.steps) - 1
			}
		}
	}
	// Every step is known before any is connected: a reference may point forward.
	for _, t := range order {
		r.resolveInputs(t)
	}
	var steps []*Step
	for _, t := range order {
		r.resolveRest(t)
		if t.unread != nil {
			continue
		}
		t.rename()
		steps = append(steps, t.steps...)
		plan.Remarks = append(plan.Remarks, t.remarks()...)
	}
	r.checkPublications(steps)
	sorted, cycles := sortSteps(steps)
	for _, cycle := range cycles {
		r.problems.Add(cycleProblem(cycle))
	}
	plan.Steps = sorted
	plan.index = sync.OnceValue(func() index { return indexOf(sorted) })
	return plan
}

// declare finds a stage's kind, outputs and steps, of which there may be so many.
func (r *resolver) declare(e document.Entry, budget int) *template {
	at := *e.Value
	at.Pos = e.Pos
	s := Step{Name: e.Key, at: &at}
	node := &stageNode{}
	if e.Value.Kind == document.Null {
		e.Value = &document.Node{Kind: document.Map, Pos: e.Pos}
	}
	r.addFor(&s, document.Decode(e.Value, node, "key", &at))
	uses := e.Key
	where := &at
	if node.Uses != nil {
		where = r.scope.node(node.Uses, false)
		uses = where.Text
		if where.Kind != document.String {
			r.problems.Add(where.Problem("stage %q: uses: must be a stage kind, got %s", e.Key, where.Describe()))
			return nil
		}
	}
	if s.Kind = r.kinds.Lookup(uses); s.Kind == nil {
		r.problems.Add(where.Problem("stage %q: there is no stage kind %q", e.Key, uses).WithHint("%s", document.Suggest(uses, r.kinds.Names())))
	}
	t := &template{name: e.Key, at: &at, raw: node}
	r.templates[e.Key] = t
	s.Outputs = r.outputs(&s, node.Out)
	if node.Matrix != nil && node.Matrix.Kind != document.Null {
		n := r.scope.node(node.Matrix, false)
		if t.matrix = r.matrix(e.Key, n, budget); t.matrix == nil {
			t.unread = n
		}
	}
	t.expand(s)
	r.resolveFrame(t)
	return t
}

// frame reads what a stage takes of the machine and of the world outside, and how it
// is tried.
func (r *resolver) frame(s *Step, raw *stageNode) {
	r.resources(s, raw.Resources)
	r.environment(s, raw)
	r.retries(s, raw)
}

// addFor adds problems of a stage's own decoding.
func (r *resolver) addFor(s *Step, problems problem.List) {
	for _, p := range problems {
		p.Message = fmt.Sprintf("stage %q: %s", s.Name, p.Message)
		r.problems.Add(p)
	}
}

func (r *resolver) outputs(s *Step, out *document.Node) []stages.OutputPort {
	if s.Kind == nil {
		return nil
	}
	if !s.Kind.Open {
		if out != nil {
			r.problems.Add(out.Problem("stage %q: out: stages of kind %q have the outputs %s", s.Name, s.Kind.Name, strings.Join(portNames(s.Kind.Outputs), ", ")))
		}
		return s.Kind.Outputs
	}
	if out == nil {
		r.problems.Add(s.at.Problem("stage %q: key %q is missing", s.Name, "out").WithHint("it lists the outputs, as in: out: [result]"))
		return nil
	}
	if out.Kind != document.List {
		r.problems.Add(out.Problem("stage %q: out: must be a list of names, got %s", s.Name, out.Describe()))
		return nil
	}
	var ports []stages.OutputPort
	for _, item := range out.Items {
		switch {
		case item.Kind != document.String || !stages.ValidPortName(item.Text):
			r.problems.Add(item.Problem("stage %q: out: a name is made of lower-case letters, digits, dashes and underscores, got %s", s.Name, item.Describe()))
		case slices.ContainsFunc(ports, func(p stages.OutputPort) bool { return sameVariable(p.Name, item.Text) }):
			r.problems.Add(item.Problem("stage %q: out: %q stands twice, or differs from another only in - and _", s.Name, item.Text))
		default:
			ports = append(ports, stages.OutputPort{Name: item.Text})
		}
	}
	return ports
}

// sameVariable says whether two ports would share an environment variable.
func sameVariable(a, b string) bool {
	return strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}

func portNames(ports []stages.OutputPort) []string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name
	}
	return names
}

// connect resolves a stage's inputs.
func (r *resolver) connect(s *Step) {
	in := r.templates[s.Name].raw.In
	if s.Kind == nil {
		r.checkReferences(s, in)
		return
	}
	if in != nil && in.Kind != document.Map && in.Kind != document.Null {
		r.problems.Add(in.Problem("stage %q: in: must be a map from port to value, got %s", s.Name, in.Describe()))
		return
	}
	given := map[string]document.Entry{}
	var order []stages.InputPort
	if in != nil {
		for _, e := range in.Entries {
			given[e.Key] = e
			port, known := s.Kind.Input(e.Key)
			if s.Kind.Open && !stages.ValidPortName(e.Key) {
				r.problems.Add(in.KeyProblem(e, "stage %q: in: the name %q must be made of lower-case letters, digits, dashes and underscores", s.Name, e.Key))
			} else if !known {
				r.problems.Add(in.KeyProblem(e, "stage %q: kind %q has no input %q", s.Name, s.Kind.Name, e.Key).WithHint("%s", document.Suggest(e.Key, inputNames(s.Kind))))
			} else if slices.ContainsFunc(order, func(p stages.InputPort) bool { return sameVariable(p.Name, e.Key) }) {
				r.problems.Add(in.KeyProblem(e, "stage %q: in: %q differs from another port only in - and _", s.Name, e.Key))
			} else if s.Kind.Open {
				order = append(order, port)
			}
		}
	}
	if !s.Kind.Open {
		order = s.Kind.Inputs
	}
	for _, port := range order {
		e, ok := given[port.Name]
		if !ok {
			if !port.Optional {
				r.problems.Add(s.at.Problem("stage %q: input %q is not connected", s.Name, port.Name).WithHint("in: { %s: … }: %s", port.Name, port.Help))
			}
			continue
		}
		if input, ok := r.input(s, port, e.Value); ok {
			s.Inputs = append(s.Inputs, input)
		}
	}
}

// checkReferences looks at the inputs of a stage whose kind is not known.
func (r *resolver) checkReferences(s *Step, in *document.Node) {
	if in == nil {
		return
	}
	for _, e := range in.Entries {
		r.input(s, stages.InputPort{Name: e.Key}, e.Value)
	}
}

func inputNames(k *stages.Kind) []string {
	names := make([]string, len(k.Inputs))
	for i, p := range k.Inputs {
		names[i] = p.Name
	}
	return names
}

// input resolves what is connected to one port: ${stage.output}, or a source.
func (r *resolver) input(s *Step, port stages.InputPort, n *document.Node) (Input, bool) {
	if n.Kind != document.String {
		r.problems.Add(n.Problem("stage %q: in: %s must be a path or a reference, got %s", s.Name, port.Name, n.Describe()))
		return Input{}, false
	}
	if sel, output, ok := stageReference(n); ok {
		return r.upstream(s, port, n, sel, output)
	}
	if err := wrongSelector(n); err != nil {
		r.problems.Add(n.Problem("stage %q: in: %s: %v", s.Name, port.Name, err))
		return Input{}, false
	}
	value := r.scope.node(n, false)
	if value.Kind != document.String || value.Text == "" {
		r.problems.Add(value.Problem("stage %q: in: %s must be a path, got %s", s.Name, port.Name, value.Describe()))
		return Input{}, false
	}
	source := value.Text
	if !HasScheme(source) {
		source = r.file.join(value, source)
	}
	return Input{Port: port, Source: source, at: value}, true
}

// HasScheme says whether a source is a reference such as builtin:name, and no path.
func HasScheme(source string) bool {
	scheme, _, ok := strings.Cut(source, ":")
	return ok && len(scheme) > 1 && !strings.ContainsAny(scheme, `/\. `)
}

func (r *resolver) upstream(s *Step, port stages.InputPort, n *document.Node, sel stagename.Selector, output string) (Input, bool) {
	t := r.templates[sel.Stage]
	if t == nil {
		r.problems.Add(n.Problem("stage %q: in: %s: there is no stage %q", s.Name, port.Name, sel.Stage).
			WithHint("%s", document.Suggest(sel.Stage, slices.Sorted(maps.Keys(r.templates)))))
		return Input{}, false
	}
	from := t.steps[0]
	made, ok := from.Output(output)
	if !ok {
		if from.Kind != nil {
			r.problems.Add(n.Problem("stage %q: in: %s: stage %q has no output %q", s.Name, port.Name, sel.Stage, output).
				WithHint("outputs of %q are %s", sel.Stage, strings.Join(portNames(from.Outputs), ", ")))
		}
		return Input{}, false
	}
	if t.unread != nil || r.templates[s.Name].unread != nil {
		return Input{}, false // what is wrong with the matrix was said
	}
	chosen, ok := r.choose(s, port.Name, n, t, sel)
	if !ok {
		return Input{}, false
	}
	if chosen.gathered {
		return r.gather(s, port, n, chosen, output)
	}
	if from.Kind != nil && !from.Kind.Open && port.Type != "" && port.Type != made.Type() {
		p := n.Problem("stage %q: in: the port %s reads a %s, %s.%s is a %s", s.Name, port.Name, port.Type, sel.Stage, output, made.Type())
		if fit := portsOfType(from.Outputs, port.Type); len(fit) > 0 {
			p = p.WithHint("outputs of %q that are a %s: %s", sel.Stage, port.Type, strings.Join(fit, ", "))
		}
		r.problems.Add(p)
		return Input{}, false
	}
	return Input{Port: port, From: chosen.steps[0], FromPort: output, at: n}, true
}

// portsOfType names the outputs that are files, or folders.
func portsOfType(outputs []stages.OutputPort, form string) []string {
	var names []string
	for _, o := range outputs {
		if o.Type() == form {
			names = append(names, o.Name)
		}
	}
	return names
}

// bind decodes a stage's parameters and publications.
func (r *resolver) bind(s *Step) {
	if s.Kind == nil {
		return
	}
	with := r.templates[s.Name].raw.With
	if with != nil && with.Kind == document.Map {
		with = r.interpolateParams(s, with)
	}
	var problems problem.List
	s.Params, problems = s.Kind.Decode(with, s.at)
	r.addFor(s, problems)
}

// interpolateParams replaces references in with:, as each parameter allows it.
func (r *resolver) interpolateParams(s *Step, with *document.Node) *document.Node {
	mode := map[string]string{}
	for _, f := range s.Kind.Fields() {
		mode[f.Name] = f.Tag.Get("references")
	}
	c := *with
	c.Entries = make([]document.Entry, len(with.Entries))
	for i, e := range with.Entries {
		switch mode[e.Key] {
		case "none": // the kind says what it thinks of ${…}
		case "ports":
			e.Value = r.scope.node(e.Value, true)
			r.checkPorts(s, e.Value)
		default:
			e.Value = r.scope.node(e.Value, false)
		}
		c.Entries[i] = e
	}
	return &c
}

// checkPorts finds ${in.x} and ${out.x} that name no port of the stage.
func (r *resolver) checkPorts(s *Step, n *document.Node) {
	for _, item := range n.Items {
		r.checkPorts(s, item)
	}
	for _, m := range reference.FindAllStringSubmatch(n.Text, -1) {
		side, name, _ := strings.Cut(m[1], ".")
		var names []string
		switch side {
		case "in":
			names = keys(r.templates[s.Name].raw.In)
		case "out":
			names = portNames(s.Outputs)
		default:
			continue
		}
		if !slices.Contains(names, name) {
			r.problems.Add(n.Problem("stage %q: %s names no port of the stage", s.Name, m[0]).WithHint("%s", document.Suggest(name, names)))
		}
	}
}
