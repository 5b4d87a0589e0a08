package chat

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"pipe/internal/ordered"
	"pipe/internal/problem"
)

// The roles of messages.
const (
	System    = "system"
	User      = "user"
	Assistant = "assistant"
)

// The kinds of records: what a record's answers do.
const (
	Refusal = "refusal"
	Answer  = "answer"
)

// Message is what one side says.
type Message struct {
	Role    string // System, User or Assistant
	Content string // not empty, not only white space
}

// Record is a conversation of a data set. It ends with an answer.
type Record struct {
	Line int // in its file, from 1

	// ID is the record's own id, a string or number at the top level; else
	// UserTurnsID of its messages. Records may share one.
	ID string
	// Kind is Refusal or Answer, or empty if the record does not say.
	Kind string

	// Messages may have other contents put in; nothing else of a record that was
	// read should be changed.
	Messages []Message

	object value // the whole line
}

// UserTurnsID is how a record is named that has no id: the first 8 hexadecimal
// digits of the SHA-256 of its users' texts, joined by line breaks.
func UserTurnsID(messages []Message) string {
	var turns []string
	for _, m := range messages {
		if m.Role == User {
			turns = append(turns, m.Content)
		}
	}
	digest := sha256.Sum256([]byte(strings.Join(turns, "\n")))
	return hex.EncodeToString(digest[:4])
}

// ReadRecords reads a data set: one object a line,
//
//	{"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"…"}],"id":…,"kind":…}
//
// with id and kind as Record says, and any other keys beside them. Blank lines are
// skipped. All lines that are wrong are returned together, as a problem.List with
// line and column, and then no record is. file stands for the file in messages.
//
// workers is how many lines are read at a time; it does not change the result.
func ReadRecords(r io.Reader, file string, workers int) ([]Record, error) {
	all := &lines{file: file}
	var texts []textLine
	if err := all.split(r, func(line textLine) { texts = append(texts, line) }); err != nil {
		return nil, err
	}
	type result struct {
		record Record
		found  *lines // problems, if there are any
	}
	records := make([]Record, 0, len(texts))
	_ = ordered.Each(len(texts), workers, func(i int) result {
		l := &lines{file: file}
		res := result{record: Record{Line: texts[i].number}}
		l.read(texts[i], func(v value) {
			res.record.object = v
			l.record(&res.record)
		})
		if len(l.problems) > 0 {
			res.found = l
		}
		return res
	}, func(_ int, res result) error {
		if res.found != nil {
			all.join(res.found)
		} else {
			records = append(records, res.record)
		}
		return nil
	})
	if err := all.err(); err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, problem.List{{File: file, Message: "no records", Hint: `a data set has one {"messages":[…]} a line`}}
	}
	return records, nil
}

// record fills r from its object.
func (l *lines) record(r *Record) {
	if r.object.kind != isObject {
		l.add(notAnObject(r.object))
		return
	}
	messages, ok := r.object.get("messages")
	switch {
	case !ok:
		l.add(wrong(r.object.at, `no "messages"`).withHint(`a record is {"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"…"}]}`))
	case messages.kind != isArray:
		l.add(wrong(messages.at, `"messages" is %s, not an array`, shown(messages)))
	case len(messages.elements) == 0:
		l.add(wrong(messages.at, `"messages" is empty`))
	default:
		r.Messages = l.messages(messages.elements)
	}
	r.ID = l.id(r)
	if kind, ok := r.object.get("kind"); ok {
		r.Kind = kind.text
		if kind.kind != isText || kind.text != Refusal && kind.text != Answer {
			l.add(wrong(kind.at, `"kind" is %s`, shown(kind)).withHint(`it is "refusal" or "answer", or left out`))
		}
	}
}

func notAnObject(v value) *lineError {
	e := wrong(v.at, "the line holds %s, not an object", shown(&v))
	if v.kind == isArray {
		return e.withHint("a file has one JSON object a line, without brackets around them")
	}
	return e
}

func (l *lines) id(r *Record) string {
	id, ok := r.object.get("id")
	switch {
	case !ok:
		return UserTurnsID(r.Messages)
	case id.kind != isText && id.kind != isNumber:
		l.add(wrong(id.at, `"id" is %s, not a string or number`, shown(id)))
	case strings.TrimSpace(id.text) == "":
		l.add(wrong(id.at, `"id" is empty`).withHint("leave it out: the record is then named by its users' texts"))
	}
	return id.text
}

// messages reads and checks the messages of a record.
func (l *lines) messages(elements []value) []Message {
	messages := make([]Message, len(elements))
	problems := len(l.problems) + l.more
	for i := range elements {
		messages[i] = l.message(&elements[i], i)
	}
	if len(l.problems)+l.more == problems { // else the order says nothing
		if i, message, hint := checkOrder(messages); message != "" {
			l.add(wrong(elements[i].at, "messages[%d]: %s", i, message).withHint(hint))
		} else if last := len(messages) - 1; messages[last].Role != Assistant {
			l.add(wrong(elements[last].at, "messages[%d]: the record ends with role %q: there is no answer to learn", last, messages[last].Role))
		}
	}
	return messages
}

func (l *lines) message(v *value, i int) Message {
	if v.kind != isObject {
		l.add(wrong(v.at, "messages[%d] is %s, not an object", i, shown(v)))
		return Message{}
	}
	role := l.needText(v, fmt.Sprintf("messages[%d]", i), "role")
	content := l.needText(v, fmt.Sprintf("messages[%d]", i), "content")
	if role != nil && role.text != System && role.text != User && role.text != Assistant {
		l.add(wrong(role.at, "messages[%d].role: unknown role %.60q", i, role.text).withHint(roleHint(role.text)))
	}
	if role == nil || content == nil {
		return Message{}
	}
	return Message{role.text, content.text}
}

// needText returns the member key of v, a string with something in it, or nil
// and a problem.
func (l *lines) needText(v *value, place, key string) *value {
	if place != "" {
		place += "."
	}
	text, ok := v.get(key)
	switch {
	case !ok:
		l.add(wrong(v.at, "%s%s is missing", place, key))
	case text.kind != isText:
		l.add(wrong(text.at, "%s%s is %s, not a string", place, key, shown(text)))
	case text.text == "":
		l.add(wrong(text.at, "%s%s is empty", place, key))
	case strings.TrimSpace(text.text) == "":
		l.add(wrong(text.at, "%s%s holds nothing but white space: %.60q", place, key, text.text))
	default:
		return text
	}
	return nil
}

// shown spells a value for a message.
func shown(v *value) string {
	switch v.kind {
	case isText:
		return fmt.Sprintf("%.60q", v.text)
	case isNumber, isLiteral:
		return fmt.Sprintf("%.60s", v.text)
	}
	return v.kind.String()
}

// roleHint guesses which role was meant.
func roleHint(role string) string {
	switch strings.ToLower(strings.TrimSpace(role)) {
	case System, "developer", "instruction":
		return `did you mean "system"?`
	case User, "human", "prompter", "customer":
		return `did you mean "user"?`
	case Assistant, "gpt", "bot", "model", "ai", "answer":
		return `did you mean "assistant"?`
	}
	return "roles are system, user and assistant"
}

// checkOrder holds messages to the order of a conversation. It returns the first
// that is out of place and why; no message if all are in place.
func checkOrder(messages []Message) (at int, message, hint string) {
	for i, m := range messages {
		if i == 0 && m.Role == System {
			continue
		}
		before := ""
		if i > 0 {
			before = messages[i-1].Role
		}
		switch {
		case m.Role == System:
			return i, "a system message that is not the first", "put it first, or join it with the user's text"
		case m.Role == Assistant && before != User:
			return i, fmt.Sprintf("an answer that follows %s", orNothing(before)), "a conversation begins with user, then they take turns"
		case m.Role == User && before == User:
			return i, "role user follows user", "join the two texts, or put the answer between them"
		}
	}
	return 0, "", ""
}

func orNothing(role string) string {
	if role == "" {
		return "nothing"
	}
	return "role " + role
}
