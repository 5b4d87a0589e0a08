// Package sanitysweep is the stage kind that asks every checkpoint, and the bare
// base, the questions of a suite, and judges the answers.
package sanitysweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pipe/runtime/chat"
	"pipe/runtime/cpu"
	"pipe/runtime/eval"
	"pipe/runtime/generate"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/ops"
	"pipe/runtime/tokenizer"
	"pipe/stages"
)

// Kind is the stage kind "sanity-sweep".
var Kind = stages.Checked(stages.Define("sanity-sweep", "1+ops"+ops.Version+"+habits"+eval.Version,
	"Asks the bare base and every checkpoint the questions of a suite and judges the answers.", run).CheckInput("suite", checkSuite), check)

// Params are the parameters of the kind.
type Params struct {
	Compliments  []string `yaml:"compliments" required:"true" help:"the templates that answers should open with; the list of normalize-compliments"`
	Refusal      []string `yaml:"refusal" help:"regular expressions (RE2); an answer that one of them matches is a refusal; default: a list for English"`
	MaxNewTokens int      `yaml:"max_new_tokens" default:"128" min:"1" help:"the longest answer; what is cut there does not stop"`
	BatchSize    int      `yaml:"batch_size" default:"32" min:"1" key:"-" why:"an answer does not depend on what else is in its batch" help:"answers at a time"`
	Device       string   `yaml:"device" default:"auto" enum:"auto|cpu|cuda" key:"-" why:"the record says where it was made" help:"what to compute on"`
}

// Check finds what the types of the parameters do not show.
func (p *Params) Check(report func(field, message, hint string)) {
	eval.CheckTemplates("compliments", p.Compliments, report)
	eval.CheckPatterns("refusal", p.Refusal, report)
}

// Refuse says what this build cannot do.
func (p *Params) Refuse(report func(field, message, hint string)) {
	if p.Device == "cuda" {
		report("device", "cuda: this version of pipe computes on the CPU only", "set device: auto or device: cpu")
	}
}

// Inputs of the kind.
type Inputs struct {
	Base        stages.Input `port:"base" type:"folder" help:"the quantised base, of quantize-base"`
	Checkpoints stages.Input `port:"checkpoints" type:"folder" help:"PEFT adapters, a folder each, of train-qlora; one adapter's folder; or what a matrix of trainings made, gathered: ${train-qlora[*].checkpoints}"`
	Suite       stages.Input `port:"suite" type:"file" help:"the questions (YAML)"`
	Data        stages.Input `port:"data" type:"file" optional:"true" help:"the training data, JSON Lines; questions that occur in it are left out"`
}

// Outputs of the kind.
type Outputs struct {
	Report string `port:"report" type:"folder" scores:"true" help:"report.json, report.md (a table), answers.jsonl, score.json"`
}

// Scores is score.json: what a promotion compares.
type Scores struct {
	Suite    string             `json:"suite"`    // digest
	Base     string             `json:"base"`     // digest
	Template string             `json:"template"` // of the chat
	Scores   map[string]float64 `json:"scores"`   // by the digest of an adapter's folder
}

func run(ctx context.Context, env *stages.Env, p Params, in Inputs, out Outputs) error {
	s := sweeper{ctx: ctx, env: env, params: p}
	if err := s.read(in); err != nil {
		return err
	}
	backend, err := cpu.Open(env.Device.Tier, env.Workers)
	if err != nil {
		return fmt.Errorf("%w: %w", stages.ErrDevice, err)
	}
	defer backend.Close()
	env.Note("tier", backend.Tier())
	if err := s.load(backend, in.Base.Path); err != nil {
		return err
	}
	if err := s.ask(subject{name: eval.BareName}); err != nil {
		return err
	}
	for _, c := range s.subjects {
		if err := s.ask(c); err != nil {
			return err
		}
	}
	return s.write(out.Report)
}

// sweeper asks one subject after the other.
type sweeper struct {
	ctx    context.Context
	env    *stages.Env
	params Params

	habits   *eval.Habits
	suite    *eval.Suite
	template chat.Template
	info     chat.Info
	subjects []subject
	report   eval.Report
	scores   Scores
	said     []eval.Said

	tok       *tokenizer.Tokenizer
	model     *mistral.Model
	generator *generate.Generator
	prompts   [][]int32
	questions []question // that the prompts are of
	answered  int
	recent    []stages.Sample // the last answers
	tokens    int
	started   time.Time
}

// read reads suite, training data and checkpoints.
func (s *sweeper) read(in Inputs) error {
	var err error
	if s.suite, err = readSuite(in.Suite.Path); err != nil {
		return err
	}
	if s.habits, err = eval.NewHabits(s.params.Compliments, s.params.Refusal, nil); err != nil {
		return err
	}
	if in.Data.Path != "" {
		if err := s.leaveOutTrained(in.Data.Path); err != nil {
			return err
		}
	}
	if s.subjects, err = findSubjects(in.Checkpoints.Path); err != nil {
		return err
	}
	s.info = s.subjects[0].info
	for _, c := range s.subjects[1:] {
		if c.info.Template != s.info.Template || c.info.AnswerPrefix != s.info.AnswerPrefix || c.info.Tokenizer != s.info.Tokenizer {
			return fmt.Errorf("%s: %s and %s were trained with different templates or tokenizers", in.Checkpoints.Path, s.subjects[0].name, c.name)
		}
	}
	if s.template, err = s.info.NewTemplate(); err != nil {
		return err
	}
	if base, err := chat.ReadOrigin(in.Base.Path); err == nil && s.info.Base != nil && s.info.Base.Digest != base.Digest {
		s.env.Log.Warn("the checkpoints were trained on another base than the one they are asked on", "trained on", s.info.Base.Reference, "asked on", base.Reference)
	}
	s.report.Suite, s.report.Base, s.report.Template = in.Suite.Digest, in.Base.Digest, s.template.Name()
	s.scores = Scores{Suite: in.Suite.Digest, Base: in.Base.Digest, Template: s.template.Name(), Scores: map[string]float64{}}
	for _, g := range s.suite.Groups {
		s.report.Groups = append(s.report.Groups, eval.GroupInfo{Name: g.Name, Habit: g.Habit, Min: g.Min})
	}
	return nil
}

// leaveOutTrained removes the questions that the model was trained on.
func (s *sweeper) leaveOutTrained(path string) error {
	records, err := readRecords(path)
	if err != nil {
		return err
	}
	suite, excluded, err := s.suite.WithoutTrained(turnsOf(records))
	if err != nil {
		return err
	}
	s.suite, s.report.Excluded = suite, excluded
	if len(excluded) > 0 {
		s.env.Log.Warn("questions that occur in the training data are left out", "questions", len(excluded), "the first", excluded[0].Prompt)
	}
	return nil
}

// load loads the base and prepares the questions.
func (s *sweeper) load(backend ops.Backend, dir string) error {
	var err error
	if s.tok, err = tokenizer.Open(filepath.Join(dir, "tokenizer.model")); err != nil {
		return fmt.Errorf("the base has no tokenizer: %w", err)
	}
	if s.info.Tokenizer != "" && s.info.Tokenizer != s.tok.Digest() {
		return fmt.Errorf("the checkpoints were trained with tokenizer %.12s, the base has %.12s: connect them to the base that they were trained on", s.info.Tokenizer, s.tok.Digest())
	}
	if s.model, err = mistral.Load(backend, dir); err != nil {
		return err
	}
	longest := 0
	for _, g := range s.suite.Groups {
		for _, p := range g.Prompts {
			var messages []chat.Message
			if p.System != "" {
				messages = append(messages, chat.Message{Role: chat.System, Content: p.System})
			}
			ids, err := s.template.Prompt(s.tok, append(messages, chat.Message{Role: chat.User, Content: p.Prompt}))
			if err != nil {
				return fmt.Errorf("group %q: prompt %q: %w", g.Name, p.Prompt, err)
			}
			if most := s.model.Config.Positions - 1; len(ids) > most {
				return fmt.Errorf("group %q: prompt %.60q has %d tokens, the base reads %d at most", g.Name, p.Prompt, len(ids), most)
			}
			s.prompts = append(s.prompts, ids)
			s.questions = append(s.questions, question{g, p})
			longest = max(longest, len(ids))
		}
	}
	s.started = s.env.Now()
	s.generator, err = generate.New(s.model, min(s.params.BatchSize, len(s.prompts)), min(longest+s.params.MaxNewTokens, s.model.Config.Positions))
	return err
}

// ask puts all questions to one subject and judges the answers.
func (s *sweeper) ask(c subject) error {
	answers, err := s.answers(c)
	if err != nil {
		return err
	}
	result, said := s.habits.Assess(c.name, c.step, s.suite, answers)
	result.Adapter = c.digest
	s.report.Subjects = append(s.report.Subjects, result)
	s.said = append(s.said, said...)
	if c.digest != "" {
		s.scores.Scores[c.digest] = result.Score()
	}
	s.env.Log.Info(c.name, "passed", result.Passed, "asked", result.Asked, "score", result.Score())
	return nil
}

func (s *sweeper) answers(c subject) ([]eval.Answer, error) {
	answers := make([]eval.Answer, len(s.prompts))
	if c.notFinite {
		s.env.Log.Warn(c.name + " has weights that are not finite; it is not asked")
		s.answered += len(s.prompts)
		return answers, nil
	}
	var adapter *lora.Adapter
	if c.path != "" {
		var err error
		if adapter, err = lora.Read(s.model.Backend(), s.model.Config.Base(), c.path); err != nil {
			return nil, err
		}
		defer adapter.Free()
	}
	_, err := s.generator.Generate(s.ctx, s.prompts, adapter, generate.Options{
		MaxNewTokens: s.params.MaxNewTokens, Stop: []int32{s.tok.EOS()},
		OnToken: func(int, int32) {
			s.tokens++
			s.progress(c.name)
		},
		OnAnswer: func(i int, a generate.Answer) {
			answers[i] = s.answer(a)
			s.answered++
			s.remember(s.questions[i], answers[i])
			s.progress(c.name)
		},
	})
	return answers, err
}

// answer turns tokens into what is judged.
func (s *sweeper) answer(a generate.Answer) eval.Answer {
	text := strings.TrimSpace(s.template.DecodeAnswer(s.tok, a.IDs))
	return eval.Answer{Text: text, Stopped: a.End == generate.Stopped, Finite: a.End != generate.NotFinite, Leaked: len(chat.LeakedMarks(text)) > 0}
}

// question is a prompt with the group that says how to answer it.
type question struct {
	group  eval.Group
	prompt eval.Prompt
}

// shownAnswers is how many answers progress carries.
const shownAnswers = 6

// remember keeps an answer to be shown. Those shown before are not changed: an event
// may still hold them.
func (s *sweeper) remember(q question, a eval.Answer) {
	v := s.habits.Judge(q.group, q.prompt, a)
	sample := stages.Sample{Of: q.prompt.Prompt, Text: a.Text, Good: v.Pass, Note: strings.Join(v.Why, ", ")}
	s.recent = append(slices.Clone(s.recent[max(len(s.recent)-shownAnswers+1, 0):]), sample)
}

func (s *sweeper) progress(name string) {
	p := stages.Progress{Done: float64(s.answered), Total: float64(len(s.prompts) * (1 + len(s.subjects))), Unit: "answers", RateUnit: "tokens", Text: name, Samples: s.recent}
	spent := s.env.Now().Sub(s.started)
	if spent > 0 {
		p.Rate = float64(s.tokens) / spent.Seconds()
	}
	if s.answered > 0 {
		p.Left = time.Duration(float64(spent) * (p.Total - p.Done) / p.Done)
	}
	s.env.Progress(p)
}

// write writes the report.
func (s *sweeper) write(dir string) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	report, err1 := json.MarshalIndent(s.report, "", "  ")
	scores, err2 := json.MarshalIndent(s.scores, "", "  ")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var answers []byte
	for _, a := range s.said {
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		answers = append(append(answers, b...), '\n')
	}
	table := s.report.Table()
	for name, text := range map[string][]byte{
		"report.json": append(report, '\n'), "score.json": append(scores, '\n'), "answers.jsonl": answers, "report.md": []byte(s.report.Markdown()),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			return err
		}
	}
	summary, err := s.env.Attach(stages.SummaryName)
	if err != nil {
		return err
	}
	_, err = summary.Write([]byte(table))
	return err
}
