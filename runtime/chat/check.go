package chat

import (
	"fmt"
	"slices"
	"strings"

	"pipe/runtime/tokenizer"
)

// CheckBOS fails unless ids, those of one conversation, begin with BOS and hold no
// other. A second one comes from encoding text that has a template's <s> in it
// already, and makes a model worse without a word.
func CheckBOS(tok *tokenizer.Tokenizer, ids []int32) error {
	bos := tok.BOS()
	if len(ids) == 0 || ids[0] != bos {
		return fmt.Errorf("the ids do not begin with %s (%d)", tok.Piece(bos), bos)
	}
	if i := slices.Index(ids[1:], bos); i >= 0 {
		return fmt.Errorf("%s (%d) occurs again as id number %d", tok.Piece(bos), bos, i+2)
	}
	return nil
}

// marks are what templates write around messages.
var marks = []string{"[INST]", "[/INST]", "<s>", "</s>"}

// LeakedMarks returns the marks of templates that occur in text, a generated
// answer: a model that writes them has not learned where answers end.
func LeakedMarks(text string) []string {
	var leaked []string
	for _, mark := range marks {
		if strings.Contains(text, mark) {
			leaked = append(leaked, mark)
		}
	}
	return leaked
}
