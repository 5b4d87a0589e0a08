package eval

import (
	"fmt"
	"regexp"
	"strings"
)

// CheckTemplates finds templates that cannot do their work. report's arguments are
// those of document.Checker.
func CheckTemplates(field string, templates []string, report func(field, message, hint string)) {
	if len(templates) == 0 {
		report(field, "must list at least one sentence", "as in: [Your question shows sharp thinking.]")
	}
	for i, t := range templates {
		first, rest := FirstSentence(t)
		switch at := fmt.Sprintf("%s[%d]", field, i); {
		case t == "" || t != strings.TrimSpace(t) || strings.Contains(t, "\n"):
			report(field, fmt.Sprintf("%s: must be one line of text without spaces around it, got %q", at, t), "")
		case rest != "" || first == t && !strings.ContainsAny(t[len(t)-1:], ".!?"):
			report(field, fmt.Sprintf("%s: must be one sentence that ends in a full stop, exclamation or question mark, got %q", at, t), "")
		}
		for _, other := range templates[:i] {
			if strings.HasPrefix(t, other) || strings.HasPrefix(other, t) {
				report(field, fmt.Sprintf("%q and %q begin alike, so that an answer could open with both", other, t), "")
			}
		}
	}
}

// CheckPatterns finds expressions that do not compile.
func CheckPatterns(field string, patterns []string, report func(field, message, hint string)) {
	for _, text := range patterns {
		if _, err := regexp.Compile(text); err != nil {
			report(field, fmt.Sprintf("%q is no regular expression: %v", text, err), "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax")
		}
	}
}
