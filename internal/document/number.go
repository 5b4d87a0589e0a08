package document

import (
	"math"
	"regexp"
	"strconv"
)

var (
	intForm   = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)
	floatForm = regexp.MustCompile(`^[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	// oddNumber is what some YAML reader takes for a number and pipe does not.
	oddNumber = regexp.MustCompile(`^[-+]?(0[0-9_]+(\.[0-9_]*)?|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*_[0-9_]*(\.[0-9]*)?|\.(inf|Inf|INF|nan|NaN|NAN)|inf|nan)$`)
)

func (n *Node) setString(text string) { n.Kind, n.Text = String, text }

// setPlain resolves an unquoted scalar.
func (n *Node) setPlain(text string) {
	n.Text, n.Plain = text, true
	switch text {
	case "", "~", "null", "Null", "NULL":
		n.Kind = Null
		return
	case "true", "True", "TRUE", "false", "False", "FALSE":
		n.Kind, n.Bool = Bool, text[0] == 't' || text[0] == 'T'
		return
	}
	if intForm.MatchString(text) {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			n.Kind, n.Int, n.Float = Int, v, float64(v)
			return
		}
	}
	if floatForm.MatchString(text) {
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(v, 0) {
			n.Kind, n.Float = Float, v
			return
		}
	}
	n.Kind = String
}

// numberHint explains why a scalar that looks like a number is none.
func (n *Node) numberHint() string {
	switch {
	case n.Kind == String && !n.Plain && floatForm.MatchString(n.Text):
		return "write it without quotes"
	case n.Plain && oddNumber.MatchString(n.Text):
		return "numbers are decimal, finite, without leading zeros or underscores"
	}
	return ""
}

// Scalar is a scalar as it would be read without quotes, without a place.
func Scalar(text string) *Node {
	n := &Node{}
	n.setPlain(text)
	return n
}

// Canonical is a scalar's text in one form for each value: 1e-3, 1.0e-3 and 0.001 are
// 0.001, a string is itself.
func (n *Node) Canonical() string {
	switch n.Kind {
	case Bool:
		return strconv.FormatBool(n.Bool)
	case Int:
		return strconv.FormatInt(n.Int, 10)
	case Float:
		return strconv.FormatFloat(n.Float+0, 'g', -1, 64) // -0 + 0 = 0
	}
	return n.Text
}
