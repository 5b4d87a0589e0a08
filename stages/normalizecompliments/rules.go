package normalizecompliments

import (
	"strings"

	"pipe/runtime/chat"
	"pipe/runtime/eval"
)

// rules say what a record becomes. They look at nothing but the record, and may be used
// from several goroutines.
type rules struct {
	habits *eval.Habits
	seed   int
}

// change is what was done to a record.
type change struct {
	line    []byte // the record now, with its line end
	replies []replied
	changes []Change
	doubts  []Doubt
}

// replied is what was done to a reply.
type replied struct {
	at, reply int // its place among the messages, and among the replies
	done      done
	template  string
	body      string // without compliment and white space around it
}

type done uint8

const (
	leftAlone done = iota // a refusal
	kept
	prepended
	replaced
)

// reading is a reply as the rules see it.
type reading struct {
	refusal          bool
	compliment, rest string
}

// change makes the replies of a record right.
func (n rules) change(r *chat.Record) change {
	// The choice of a template depends on the messages as they would be if nobody had
	// paid compliments.
	bare := append([]chat.Message(nil), r.Messages...)
	seen := make([]reading, len(r.Messages))
	for i, m := range r.Messages {
		if m.Role != chat.Assistant {
			continue
		}
		seen[i] = n.read(r, m.Content)
		if !seen[i].refusal {
			bare[i].Content = strings.TrimSpace(seen[i].rest)
		}
	}
	var c change
	for i, m := range r.Messages {
		if m.Role == chat.Assistant {
			n.reply(&c, r, seen[i], bare, i)
		}
	}
	c.line = append(r.AppendJSON(make([]byte, 0, 512)), '\n')
	return c
}

func (n rules) read(r *chat.Record, text string) reading {
	seen := reading{refusal: n.isRefusal(r, text)}
	seen.compliment, seen.rest = n.split(text)
	return seen
}

// isRefusal says whether a reply declines: the record's own word counts first.
func (n rules) isRefusal(r *chat.Record, text string) bool {
	switch r.Kind {
	case chat.Refusal:
		return true
	case chat.Answer:
		return false
	}
	return n.habits.Declines(text)
}

// split cuts the compliments off a reply: a first sentence that wholly is one, and
// templates behind it. rest begins with the white space that follows them.
func (n rules) split(text string) (compliment, rest string) {
	rest = text
	if first, after := eval.FirstSentence(text); n.habits.IsCompliment(first) {
		compliment, rest = strings.TrimSpace(first), after
	}
	for {
		first, after := eval.FirstSentence(strings.TrimLeft(rest, " \t\r\n"))
		if !n.isTemplate(first) {
			return compliment, rest
		}
		if compliment == "" {
			compliment = first
		}
		rest = after
	}
}

func (n rules) isTemplate(sentence string) bool {
	for _, t := range n.habits.Templates {
		if strings.TrimSpace(sentence) == t {
			return true
		}
	}
	return false
}

// reply makes the reply at messages[i] right.
func (n rules) reply(c *change, r *chat.Record, seen reading, bare []chat.Message, i int) {
	text, reply := r.Messages[i].Content, len(c.replies)
	if seen.refusal {
		if seen.compliment != "" && r.Kind == "" {
			c.doubt(r, reply, "it declines and pays a compliment; left as it is", text)
		}
		c.replies = append(c.replies, replied{at: i, reply: reply})
		return
	}
	template := choose(n.seed, reply, bare, n.habits.Templates)
	body := seen.rest
	if seen.compliment == "" {
		body = " " + seen.rest
	}
	fresh := template + body
	r.Messages[i].Content = fresh
	n.findDoubt(c, r, reply, seen, text)
	done := replaced
	switch {
	case fresh == text:
		done = kept
	case seen.compliment == "":
		done = prepended
	}
	c.replies = append(c.replies, replied{i, reply, done, template, strings.TrimSpace(seen.rest)})
	if done != kept {
		before, _ := eval.FirstSentence(text)
		after, _ := eval.FirstSentence(fresh)
		c.changes = append(c.changes, Change{ID: r.ID, Reply: reply, Before: before, After: after})
	}
}
