package chat

import (
	"errors"
	"fmt"
	"strings"

	"pipe/runtime/tokenizer"
)

// The names of templates.
const (
	// Behaviors is <s>, the system's text and an empty line, "[INST] user [/INST]",
	// the answer, </s>; then "[INST] …" again. The marks are text.
	Behaviors = "behaviors"
	// MistralV1 is what Mistral's v0.1 and v0.2 were trained on: as Behaviors, but
	// the system's text is inside the first [INST].
	MistralV1 = "mistral-v1"
	// MistralV3 is what Mistral's v0.3 was trained on: [INST] and [/INST] are
	// control pieces, the system's text is inside the last [INST], and spaces at the
	// end of an answer are cut off.
	MistralV3 = "mistral-v3"
)

// Templates are the names that NewTemplate knows.
func Templates() []string { return []string{Behaviors, MistralV1, MistralV3} }

// Options of a template.
type Options struct {
	// NoAnswerPrefix encodes answers without the tokenizer's dummy prefix, for
	// Behaviors alone: then ids are those of the plain text "[/INST]answer".
	NoAnswerPrefix bool
}

// Template turns conversations into ids. The zero value is no template.
//
// Prompt and answer of a turn are encoded each for itself, so that the ids of a
// prompt are the same in training and in use. No content leads to a control
// piece.
type Template struct {
	name    string
	options Options
}

// NewTemplate returns the template of a name.
func NewTemplate(name string, o Options) (Template, error) {
	switch name {
	case Behaviors:
	case MistralV1, MistralV3:
		if o.NoAnswerPrefix {
			return Template{}, fmt.Errorf("template %q: answers have a prefix, as Mistral trained them; only %q can leave it out", name, Behaviors)
		}
	default:
		return Template{}, fmt.Errorf("unknown template %q: templates are %s", name, strings.Join(Templates(), ", "))
	}
	return Template{name, o}, nil
}

// Name returns the template's name.
func (t Template) Name() string { return t.name }

// Options returns the template's options.
func (t Template) Options() Options { return t.options }

// Encode returns the ids of a conversation that ends with an answer, and for each
// id whether it is a target of training: 1 for an answer and the EOS that ends
// it, 0 for BOS and what is asked. It fails if the messages are no such
// conversation, or if the tokenizer lacks a control piece that the template needs.
func (t Template) Encode(tok *tokenizer.Tokenizer, messages []Message) (ids []int32, mask []uint8, err error) {
	ids, mask, err = t.encode(tok, messages, Assistant)
	return ids, mask, err
}

// Prompt returns the ids of a conversation that ends with the user's turn, to
// generate an answer from. They are the first ids of what Encode returns for the
// same messages with an answer.
func (t Template) Prompt(tok *tokenizer.Tokenizer, messages []Message) ([]int32, error) {
	ids, _, err := t.encode(tok, messages, User)
	return ids, err
}

func (t Template) encode(tok *tokenizer.Tokenizer, messages []Message, last string) ([]int32, []uint8, error) {
	if err := checkConversation(messages, last); err != nil {
		return nil, nil, err
	}
	b, err := t.builder(tok)
	if err != nil {
		return nil, nil, err
	}
	if messages[0].Role == System {
		b.system = messages[0].Content
		messages = messages[1:]
	}
	b.add(0, tok.BOS())
	for i, m := range messages {
		if m.Role == User {
			b.prompt(m.Content, i == 0, i+2 >= len(messages))
		} else {
			b.answer(m.Content)
		}
	}
	return b.ids, b.mask, nil
}

// checkConversation holds messages to the order that the package comment states.
func checkConversation(messages []Message, last string) error {
	for i, m := range messages {
		if m.Role != System && m.Role != User && m.Role != Assistant {
			return fmt.Errorf("messages[%d]: unknown role %q", i, m.Role)
		}
		if strings.TrimSpace(m.Content) == "" {
			return fmt.Errorf("messages[%d]: the text of role %s is empty", i, m.Role)
		}
	}
	if i, message, hint := checkOrder(messages); message != "" {
		return fmt.Errorf("messages[%d]: %s (%s)", i, message, hint)
	}
	if n := len(messages); n == 0 || messages[n-1].Role != last {
		return fmt.Errorf("the conversation does not end with role %s", last)
	}
	return nil
}

// builder puts the ids of one conversation together.
type builder struct {
	template Template
	tok      *tokenizer.Tokenizer
	system   string

	open, close int32 // [INST] and [/INST] of MistralV3
	ids         []int32
	mask        []uint8
}

// Check returns why the template cannot be used with a tokenizer, or nil.
func (t Template) Check(tok *tokenizer.Tokenizer) error {
	_, err := t.builder(tok)
	return err
}

func (t Template) builder(tok *tokenizer.Tokenizer) (*builder, error) {
	b := &builder{template: t, tok: tok}
	if t.name == "" {
		panic("internal error: chat: a template that NewTemplate did not make")
	}
	if tok.BOS() < 0 || tok.EOS() < 0 {
		return nil, errors.New("the tokenizer lacks the control piece <s> or </s>")
	}
	if t.name != MistralV3 {
		return b, nil
	}
	var okOpen, okClose bool
	b.open, okOpen = tok.Control("[INST]")
	b.close, okClose = tok.Control("[/INST]")
	if !okOpen || !okClose {
		return nil, fmt.Errorf("template %q: the tokenizer has no control pieces [INST] and [/INST]; for Mistral v0.1 and v0.2 use %q", t.name, MistralV1)
	}
	return b, nil
}

func (b *builder) add(mask uint8, ids ...int32) {
	b.ids = append(b.ids, ids...)
	for range ids {
		b.mask = append(b.mask, mask)
	}
}

// prompt adds a user's text; first and last say which turn of the conversation
// it is.
func (b *builder) prompt(text string, first, last bool) {
	before := ""
	if b.system != "" {
		before = b.system + "\n\n"
	}
	switch b.template.name {
	case MistralV3:
		if last {
			text = before + text
		}
		b.add(0, b.open)
		b.add(0, b.tok.Encode(text)...)
		b.add(0, b.close)
	case MistralV1:
		if first {
			text = before + text
		}
		b.add(0, b.tok.Encode("[INST] "+text+" [/INST]")...)
	default:
		text = "[INST] " + text + " [/INST]"
		if first {
			text = before + text
		}
		b.add(0, b.tok.Encode(text)...)
	}
}

// answer adds an assistant's text and the EOS that ends it.
func (b *builder) answer(text string) {
	switch {
	case b.template.name == MistralV3:
		b.add(1, b.tok.Encode(strings.TrimRight(text, " "))...)
	case b.template.options.NoAnswerPrefix:
		b.add(1, b.tok.EncodeNoPrefix(text)...)
	default:
		b.add(1, b.tok.Encode(text)...)
	}
	b.add(1, b.tok.EOS())
}

// NewAnswerStream returns a decoder for the ids of one answer.
func (t Template) NewAnswerStream(tok *tokenizer.Tokenizer) *tokenizer.Stream {
	if t.options.NoAnswerPrefix {
		return tok.NewStreamNoPrefix()
	}
	return tok.NewStream()
}

// DecodeAnswer returns the text of an answer, with or without the EOS that ends
// it.
func (t Template) DecodeAnswer(tok *tokenizer.Tokenizer, ids []int32) string {
	if t.options.NoAnswerPrefix {
		return tok.DecodeNoPrefix(ids)
	}
	return tok.Decode(ids)
}
