// Package logging is the one way to hclog.
//
// hclog v1.6.3 drops a JSON line that holds a NaN or an infinity, without a word,
// and writes line feeds in a message as they are, so that a message can forge the
// next line. Logger mends both.
package logging

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// Logger writes lines of a message and named values. It may be used from several
// goroutines.
type Logger struct{ to hclog.Logger }

// New returns a logger that writes plain lines, without times, to w.
func New(w io.Writer) Logger {
	return Logger{hclog.New(&hclog.LoggerOptions{Name: "pipe", Output: w, Level: hclog.Info, DisableTime: true})}
}

// NewJSON returns a logger that writes a JSON object a line to w.
func NewJSON(w io.Writer) Logger {
	return Logger{hclog.New(&hclog.LoggerOptions{Name: "pipe", Output: w, Level: hclog.Info, JSONFormat: true})}
}

func (l Logger) Info(message string, fields ...any)  { l.to.Info(oneLine(message), finite(fields)...) }
func (l Logger) Warn(message string, fields ...any)  { l.to.Warn(oneLine(message), finite(fields)...) }
func (l Logger) Error(message string, fields ...any) { l.to.Error(oneLine(message), finite(fields)...) }

var lineFeeds = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\x1b", `\x1b`)

func oneLine(message string) string { return lineFeeds.Replace(message) }

// finite replaces numbers that JSON cannot hold by their names.
func finite(fields []any) []any {
	out := make([]any, len(fields))
	for i, f := range fields {
		out[i] = f
		switch x := f.(type) {
		case float64:
			if math.IsNaN(x) || math.IsInf(x, 0) {
				out[i] = fmt.Sprint(x)
			}
		case float32:
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				out[i] = fmt.Sprint(x)
			}
		case error, fmt.Stringer:
			out[i] = fmt.Sprint(x)
		}
	}
	return out
}
