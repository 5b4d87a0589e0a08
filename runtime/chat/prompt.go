package chat

import (
	"io"

	"pipe/internal/problem"
)

// Prompt is one question, from a file of questions.
type Prompt struct {
	Line   int    // in its file, from 1
	System string // empty if there is none
	Text   string

	object value // the whole line
}

// ReadPrompts reads questions: one object a line, {"prompt":"…","system":"…"}, the
// system's text optional, and any other keys beside them. Blank lines are skipped.
// Errors are as in ReadRecords.
func ReadPrompts(r io.Reader, file string) ([]Prompt, error) {
	l := &lines{file: file}
	var prompts []Prompt
	err := l.each(r, func(v value) {
		if v.kind != isObject {
			l.add(notAnObject(v))
			return
		}
		p := Prompt{Line: l.number, object: v}
		if text := l.needText(&v, "", "prompt"); text != nil {
			p.Text = text.text
		}
		if _, ok := v.get("system"); ok {
			if text := l.needText(&v, "", "system"); text != nil {
				p.System = text.text
			}
		}
		prompts = append(prompts, p)
	})
	if err != nil {
		return nil, err
	}
	if err := l.err(); err != nil {
		return nil, err
	}
	if len(prompts) == 0 {
		return nil, problem.List{{File: file, Message: "no prompts", Hint: `the file has one {"prompt":"…"} a line`}}
	}
	return prompts, nil
}

// Messages returns the conversation that the prompt begins.
func (p *Prompt) Messages() []Message {
	if p.System == "" {
		return []Message{{User, p.Text}}
	}
	return []Message{{System, p.System}, {User, p.Text}}
}

// MarshalAnswer returns the line in canonical form, without a line break, with
// answer as the value of its key "answer": the last one, unless the line has it
// already.
func (p *Prompt) MarshalAnswer(answer string) []byte {
	v := p.object
	text := value{kind: isText, text: answer}
	v.members = append([]member(nil), v.members...)
	if old, ok := v.get("answer"); ok {
		*old = text
	} else {
		v.members = append(v.members, member{key: "answer", value: text})
	}
	return v.appendJSON(nil)
}
