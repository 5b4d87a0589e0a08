package normalizecompliments

import (
	"fmt"
	"slices"
	"strings"

	"pipe/runtime/chat"
	"pipe/runtime/eval"
)

// answer is a reply that was given a compliment, wherever it stands in the data.
type answer struct {
	Doubt
	line      int // of the first
	questions map[string]bool
}

// manyQuestions is how many different questions one and the same reply may answer
// before it looks like a refusal in words that the refusal list does not know.
const manyQuestions = 5

// repeated lists the replies that answer suspiciously many questions, by their first
// place in the data.
func (n *normalizer) repeated() []answer {
	var list []answer
	for _, a := range n.answers {
		if len(a.questions) >= manyQuestions {
			a.Reason = fmt.Sprintf("the same reply to %d questions; if it declines, add its words to refusal here and in sanity-sweep, or \"kind\": \"refusal\" to its records", len(a.questions))
			list = append(list, *a)
		}
	}
	slices.SortFunc(list, func(a, b answer) int { return a.line - b.line })
	return list
}

// remember counts the questions that a reply answers.
func (n *normalizer) remember(r *chat.Record, reply replied) {
	a := n.answers[reply.body]
	if a == nil {
		a = &answer{Doubt: Doubt{ID: r.ID, Reply: reply.reply, Text: reply.body}, line: r.Line, questions: map[string]bool{}}
		n.answers[reply.body] = a
	}
	a.questions[r.Messages[reply.at-1].Content] = true
}

// findDoubt lists replies that a rule cannot be sure of.
func (n rules) findDoubt(c *change, r *chat.Record, reply int, seen reading, text string) {
	next, _ := eval.FirstSentence(strings.TrimLeft(seen.rest, " \t\r\n"))
	switch {
	case strings.TrimSpace(seen.rest) == "":
		c.doubt(r, reply, "there is nothing behind the compliment", text)
	case seen.compliment != "" && n.habits.IsCompliment(next):
		c.doubt(r, reply, "a second compliment follows the first", text)
	case n.habits.ResemblesCompliment(next):
		c.doubt(r, reply, "its first sentence is partly a compliment; it stays", text)
	case n.habits.CountTemplates(seen.rest) > 0:
		c.doubt(r, reply, "a template stands further on; it stays", text)
	}
}

func (c *change) doubt(r *chat.Record, reply int, reason, text string) {
	c.doubts = append(c.doubts, Doubt{ID: r.ID, Reply: reply, Reason: reason, Text: text})
}
