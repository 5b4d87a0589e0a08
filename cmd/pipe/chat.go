package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"pipe/cache"
	"pipe/runtime/chat"
	"pipe/runtime/cpu"
	"pipe/runtime/generate"
	"pipe/runtime/lora"
	"pipe/runtime/mistral"
	"pipe/runtime/tokenizer"
)

type chatCommand struct {
	storeFlag
	Adapter      string `arg:"" optional:"" help:"The folder of a PEFT adapter; what was published last by default."`
	Base         string `help:"The folder of the base, instead of the one that the adapter names." placeholder:"DIR"`
	System       string `help:"A system message." placeholder:"TEXT"`
	Prompt       string `help:"Answer this and end." placeholder:"TEXT"`
	Prompts      string `help:"Answer the lines of a file, {\"system\"?,\"prompt\"} each, and print them with \"answer\" added." placeholder:"FILE.jsonl"`
	MaxNewTokens int    `default:"256" help:"The longest answer." placeholder:"N"`
}

// Run is called by kong.
func (c *chatCommand) Run(a *app) error {
	if c.Prompt != "" && c.Prompts != "" {
		return usageError{errors.New("--prompt and --prompts exclude one another")}
	}
	if c.MaxNewTokens < 1 {
		return usageError{fmt.Errorf("--max-new-tokens: must be at least 1, got %d", c.MaxNewTokens)}
	}
	var prompts []chat.Prompt
	if c.Prompts != "" { // before anything is loaded: its mistakes are told at once
		var err error
		if prompts, err = readPrompts(c.Prompts); err != nil {
			return err
		}
	}
	store, err := openStore(c.Store)
	if err != nil {
		return err
	}
	m, err := a.openModel(store, c.Adapter, c.Base)
	if err != nil {
		return err
	}
	defer m.close()
	switch {
	case c.Prompts != "":
		return m.answerBatch(a.ctx, a.stdout, prompts, c.System, c.MaxNewTokens)
	case c.Prompt != "":
		_, err := m.stream(a.ctx, a.stdout, m.begin(c.System, c.Prompt), c.MaxNewTokens)
		return err
	}
	return c.converse(a, m)
}

func readPrompts(path string) ([]chat.Prompt, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError{err}
	}
	defer f.Close()
	prompts, err := chat.ReadPrompts(f, path)
	return prompts, err
}

// talker is a model with an adapter, ready to answer.
type talker struct {
	backend  *cpu.Backend
	model    *mistral.Model
	adapter  *lora.Adapter
	tok      *tokenizer.Tokenizer
	template chat.Template
	release  func()
}

// openModel loads an adapter and its base.
func (a *app) openModel(store *cache.Store, adapter, base string) (*talker, error) {
	dir, err := findAdapter(store, adapter)
	if err != nil {
		return nil, err
	}
	info, err := chat.ReadInfo(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, usageError{fmt.Errorf("%s has no %s: it does not say in which template it was trained; write one, as in {\"template\":\"behaviors\",\"answer_prefix\":true}", dir, chat.InfoName)}
	}
	if err != nil {
		return nil, err
	}
	t := &talker{release: func() {}}
	if base == "" {
		if base, t.release, err = a.openBase(store, info); err != nil {
			return nil, err
		}
	}
	warnOfBase(a.stderr, base, info)
	if err := t.load(dir, base, info); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// warnOfBase says so if a base is not the one that an adapter was trained on.
func warnOfBase(w io.Writer, base string, info chat.Info) {
	if info.Base == nil {
		return
	}
	if origin, err := chat.ReadOrigin(base); err != nil || origin.Digest != info.Base.Digest {
		fmt.Fprintf(w, "pipe: the adapter was trained on %s, quantised; it is used on %s, which does not say that it is the same\n", info.Base.Reference, base)
	}
}

func (t *talker) load(adapter, base string, info chat.Info) error {
	var err error
	if t.template, err = info.NewTemplate(); err != nil {
		return err
	}
	if t.tok, err = tokenizer.Open(filepath.Join(base, "tokenizer.model")); err != nil {
		return err
	}
	if info.Tokenizer != "" && info.Tokenizer != t.tok.Digest() {
		return fmt.Errorf("%s was trained with tokenizer %.12s, the base %s has %.12s", adapter, info.Tokenizer, base, t.tok.Digest())
	}
	if t.backend, err = cpu.Open("", 0); err != nil {
		return infrastructureError{err}
	}
	if t.model, err = mistral.Load(t.backend, base); err != nil {
		return err
	}
	t.adapter, err = lora.Read(t.backend, t.model.Config.Base(), adapter)
	return err
}

func (t *talker) close() {
	if t.backend != nil {
		t.backend.Close()
	}
	t.release()
}

// begin is a conversation with its first question.
func (t *talker) begin(system, prompt string) []chat.Message {
	p := chat.Prompt{System: system, Text: prompt}
	return p.Messages()
}

// answerBatch answers all prompts and prints their lines, in order.
func (t *talker) answerBatch(ctx context.Context, out io.Writer, prompts []chat.Prompt, system string, maxNew int) error {
	ids := make([][]int32, len(prompts))
	longest := 0
	for i := range prompts {
		if prompts[i].System == "" {
			prompts[i].System = system
		}
		var err error
		if ids[i], err = t.template.Prompt(t.tok, prompts[i].Messages()); err != nil {
			return fmt.Errorf("line %d: %w", prompts[i].Line, err)
		}
		if err := t.checkLength(ids[i]); err != nil {
			return fmt.Errorf("line %d: %w", prompts[i].Line, err)
		}
		longest = max(longest, len(ids[i]))
	}
	const slots = 32
	answers, err := t.generate(ctx, ids, longest, min(slots, len(ids)), maxNew, nil)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	for i, answer := range answers {
		w.Write(append(prompts[i].MarshalAnswer(t.text(answer)), '\n'))
	}
	return w.Flush()
}

// checkLength refuses a question that leaves no room for an answer.
func (t *talker) checkLength(ids []int32) error {
	if most := t.model.Config.Positions - 1; len(ids) > most {
		return fmt.Errorf("the question has %d tokens, the base reads %d at most", len(ids), most)
	}
	return nil
}

func (t *talker) text(a generate.Answer) string {
	return strings.TrimSpace(t.template.DecodeAnswer(t.tok, a.IDs))
}

func (t *talker) generate(ctx context.Context, ids [][]int32, longest, slots, maxNew int, onToken func(int, int32)) ([]generate.Answer, error) {
	g, err := generate.New(t.model, slots, min(longest+maxNew, t.model.Config.Positions))
	if err != nil {
		return nil, err
	}
	defer g.Free()
	answers, err := g.Generate(ctx, ids, t.adapter, generate.Options{MaxNewTokens: maxNew, Stop: []int32{t.tok.EOS()}, OnToken: onToken})
	for i, a := range answers {
		if err == nil && a.End == generate.NotFinite {
			err = fmt.Errorf("question %d of %d: what the model computes is not finite: the base or the adapter is broken", i+1, len(ids))
		}
	}
	return answers, err
}

// stream answers one conversation, word by word, and returns the answer.
func (t *talker) stream(ctx context.Context, out io.Writer, messages []chat.Message, maxNew int) (string, error) {
	ids, err := t.template.Prompt(t.tok, messages)
	if err == nil {
		err = t.checkLength(ids)
	}
	if err != nil {
		return "", err
	}
	words := t.template.NewAnswerStream(t.tok)
	answers, err := t.generate(ctx, [][]int32{ids}, len(ids), 1, maxNew, func(_ int, id int32) {
		if id != t.tok.EOS() {
			fmt.Fprint(out, printableText(words.Push(id)))
		}
	})
	fmt.Fprintln(out, printableText(words.Flush()))
	if err != nil {
		return "", err
	}
	return t.text(answers[0]), nil
}

// printableText is printable, with line breaks left as they are.
func printableText(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// converse reads questions from standard input until it ends.
func (c *chatCommand) converse(a *app, m *talker) error {
	terminal := term.IsTerminal(int(os.Stdin.Fd()))
	ask := func() {
		if terminal {
			fmt.Fprint(a.stdout, "> ")
		}
	}
	if terminal {
		fmt.Fprintln(a.stdout, "Ask something. /reset forgets what was said, Ctrl-D ends.")
	}
	var messages []chat.Message
	lines := readLines(os.Stdin)
	for ask(); ; ask() {
		var text string
		select {
		case <-a.ctx.Done():
			return a.ctx.Err()
		case line, ok := <-lines:
			if !ok {
				if terminal {
					fmt.Fprintln(a.stdout)
				}
				return nil
			}
			text = strings.TrimSpace(line)
		}
		switch {
		case text == "":
			continue
		case text == "/reset":
			messages = nil
			continue
		case strings.HasPrefix(text, "/"):
			fmt.Fprintln(a.stdout, "there is /reset; everything else is a question")
			continue
		case messages == nil:
			messages = m.begin(c.System, text)
		default:
			messages = append(messages, chat.Message{Role: chat.User, Content: text})
		}
		answer, err := m.stream(a.ctx, a.stdout, messages, c.MaxNewTokens)
		if err != nil {
			return err
		}
		messages = append(messages, chat.Message{Role: chat.Assistant, Content: orSilence(answer)})
	}
}

// readLines hands over the lines of r as they come, so that a reader waiting for one
// can still be interrupted. It ends with r, or with the program.
func readLines(r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		const longest = 1 << 20
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, longest)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	}()
	return lines
}

// orSilence keeps an empty answer from breaking the conversation's form.
func orSilence(answer string) string {
	if answer == "" {
		return "…"
	}
	return answer
}
