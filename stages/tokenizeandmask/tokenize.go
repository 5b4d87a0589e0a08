// Package tokenizeandmask is the stage kind that turns chat records into tokens
// and marks which of them a model is to learn.
//
// The marks come from the structure of a conversation, not from searching its
// text: prompt and answer of a turn are encoded each for itself, an answer and the
// EOS that ends it are targets, everything else is not.
package tokenizeandmask

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pipe/internal/ordered"
	"pipe/internal/problem"
	"pipe/runtime/chat"
	"pipe/runtime/tokenizer"
	"pipe/runtime/tokens"
	"pipe/stages"
)

// Kind is the stage kind "tokenize-and-mask".
var Kind = stages.Define("tokenize-and-mask", "1",
	"Turns chat records into tokens and marks the assistant's as what is to be learned.", run).Quick()

// Params are the parameters of the kind.
type Params struct {
	Template     string  `yaml:"template" default:"behaviors" enum:"behaviors|mistral-v1|mistral-v3" help:"how a conversation is written: behaviors puts the system message before the first [INST], the others are Mistral's own"`
	AnswerPrefix bool    `yaml:"answer_prefix" default:"true" help:"encode answers with the tokenizer's dummy prefix, as Mistral was trained; only behaviors can do without"`
	MaxLength    int     `yaml:"max_length" default:"2048" min:"8" help:"tokens a record; what is longer is cut on the right"`
	Holdout      float64 `yaml:"holdout" default:"0.05" min:"0" max:"0.5" help:"share of the records that is measured and not trained on, chosen by the records' content"`
	Preview      int     `yaml:"preview" default:"20" min:"0" help:"records in the preview"`
}

// Check finds what the types of the parameters do not show.
func (p *Params) Check(report func(field, message, hint string)) {
	if p.Template != chat.Behaviors && p.Template != "" && !p.AnswerPrefix {
		report("answer_prefix", fmt.Sprintf("template %s has no form without the prefix", p.Template), "only behaviors can do without")
	}
}

// Inputs of the kind.
type Inputs struct {
	Data      stages.Input `port:"data" type:"file" help:"chat records, JSON Lines"`
	Tokenizer stages.Input `port:"tokenizer" type:"folder" files:"tokenizer*,special_tokens_map.json" help:"a model folder; only its tokenizer is read"`
}

// Outputs of the kind.
type Outputs struct {
	Tokens  string `port:"tokens" type:"folder" help:"tokens.safetensors (ids, mask, spans, holdout) and chat.json (template, tokenizer)"`
	Preview string `port:"preview" type:"file" help:"the first records decoded, with what is to be learned in brackets and green"`
}

func run(ctx context.Context, env *stages.Env, p Params, in Inputs, out Outputs) error {
	tok, err := tokenizer.Open(filepath.Join(in.Tokenizer.Path, "tokenizer.model"))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s has no tokenizer.model; other forms of tokenizers are not read", in.Tokenizer.Path)
	}
	if err != nil {
		return err
	}
	info := chat.Info{Template: p.Template, AnswerPrefix: p.AnswerPrefix, Tokenizer: tok.Digest()}
	template, err := info.NewTemplate()
	if err != nil {
		return err
	}
	if err := template.Check(tok); err != nil {
		return err
	}
	records, err := readRecords(in.Data.Path, env.Workers)
	if err != nil {
		return err
	}
	m := masker{tok: tok, template: template, params: p, path: in.Data.Path}
	// Records are independent: several are encoded at a time, and counted in order.
	err = ordered.Each(len(records), env.Workers, func(i int) encoded { return m.encode(records[i]) }, func(i int, e encoded) error {
		m.record(records[i], e)
		env.Progress(stages.Progress{Done: float64(i + 1), Total: float64(len(records)), Unit: "records"})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := m.problems.Err(); err != nil {
		return err
	}
	if m.supervised == 0 {
		return fmt.Errorf("%s: no token is left to learn: all %d records are longer than max_length %d before their answers begin", in.Data.Path, len(records), p.MaxLength)
	}
	m.log(env.Log)
	m.advise(env)
	if err := os.WriteFile(out.Preview, []byte(m.preview.String()), 0o666); err != nil {
		return err
	}
	if err := os.Mkdir(out.Tokens, 0o777); err != nil {
		return err
	}
	if err := chat.WriteInfo(out.Tokens, info); err != nil {
		return err
	}
	return tokens.Write(out.Tokens, m.records)
}

func readRecords(path string, workers int) ([]chat.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return chat.ReadRecords(f, path, workers)
}

// masker turns records into tokens, one by one, and counts.
type masker struct {
	tok      *tokenizer.Tokenizer
	template chat.Template
	params   Params
	path     string

	records  []tokens.Record
	preview  strings.Builder
	problems problem.List

	total, supervised, heldOut, longest   int
	whole                                 int // the longest record before it was cut
	truncated, withoutEOS, withoutTargets int
}

// encoded is a record as tokens, whole.
type encoded struct {
	tokens.Record
	err error
}

// encode looks at nothing but the record. It may be called from several goroutines.
func (m *masker) encode(r chat.Record) encoded {
	ids, mask, err := m.template.Encode(m.tok, r.Messages)
	if err == nil {
		err = chat.CheckBOS(m.tok, ids)
	}
	return encoded{tokens.Record{IDs: ids, Mask: mask, Holdout: heldOut(r, m.params.Holdout)}, err}
}

func (m *masker) record(r chat.Record, e encoded) {
	if e.err != nil {
		m.problems.Add(problem.At(m.path, r.Line, 0, "record %s: %v", r.ID, e.err))
		return
	}
	rec, ids, mask := e.Record, e.IDs, e.Mask
	m.whole = max(m.whole, len(ids))
	if len(ids) > m.params.MaxLength {
		m.truncated++
		rec.IDs, rec.Mask = ids[:m.params.MaxLength], mask[:m.params.MaxLength]
		if rec.Supervised() == 0 {
			m.withoutTargets++
			return
		}
		m.withoutEOS++
	}
	if len(m.records) < m.params.Preview {
		m.show(r.ID, rec)
	}
	m.records = append(m.records, rec)
	m.total += len(rec.IDs)
	m.supervised += rec.Supervised()
	m.longest = max(m.longest, len(rec.IDs))
	if rec.Holdout {
		m.heldOut++
	}
}

// heldOut decides by the record's own words, so that an edit elsewhere moves no
// other record between training and measuring.
func heldOut(r chat.Record, share float64) bool {
	h := sha256.New()
	for _, message := range r.Messages {
		if message.Role != chat.Assistant { // a better answer stays on its side
			fmt.Fprintf(h, "%s\x00%d\x00%s", message.Role, len(message.Content), message.Content)
		}
	}
	place := float64(binary.BigEndian.Uint64(h.Sum(nil))>>11) / (1 << 53)
	return place < share
}

const (
	green = "\x1b[32m"
	plain = "\x1b[0m"
)

// show adds a record to the preview.
func (m *masker) show(id string, r tokens.Record) {
	fmt.Fprintf(&m.preview, "record %s, %d tokens, %d to learn%s\n", id, len(r.IDs), r.Supervised(), map[bool]string{true: ", held out"}[r.Holdout])
	learning := false
	text := m.tok.NewStreamNoPrefix()
	for i, token := range r.IDs {
		if target := r.Mask[i] == 1; target != learning {
			learning = target
			m.preview.WriteString(text.Flush() + map[bool]string{true: green + "⟦", false: "⟧" + plain}[learning])
		}
		if m.tok.IsControl(token) {
			m.preview.WriteString(text.Flush() + m.tok.Piece(token))
		} else {
			m.preview.WriteString(text.Push(token))
		}
	}
	m.preview.WriteString(text.Flush())
	if learning {
		m.preview.WriteString("⟧" + plain)
	}
	m.preview.WriteString("\n\n")
}

func (m *masker) log(log stages.Logger) {
	log.Info("tokens made", "records", len(m.records), "tokens", m.total, "to learn", m.supervised, "longest record", m.longest, "records held out", m.heldOut)
}

// advise says what of the parameters does not suit the records.
func (m *masker) advise(env *stages.Env) {
	if m.truncated > 0 {
		text := fmt.Sprintf("max_length %d cuts %d of %d records", m.params.MaxLength, m.truncated, len(m.records)+m.withoutTargets)
		if m.withoutEOS > 0 {
			text += fmt.Sprintf(": %d lose the end of their answer, and with it where to stop", m.withoutEOS)
		}
		if m.withoutTargets > 0 {
			text += fmt.Sprintf("; %d are left out", m.withoutTargets)
		}
		env.Advise(stages.Remark{Param: "max_length", Message: text, Hint: fmt.Sprintf("the longest record has %d tokens", m.whole)})
	}
	if m.params.Holdout > 0 && m.heldOut == 0 {
		env.Advise(stages.Remark{Param: "holdout", Message: fmt.Sprintf("holdout %g of %d records holds out none: nothing measures what was not trained on", m.params.Holdout, len(m.records)),
			Hint: "a larger share, or 0 to say so"})
	}
}
