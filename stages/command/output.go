package command

import (
	"bytes"
	"io"
	"strings"

	"pipe/stages"
)

// longestLine is where a line of output is cut: a progress bar without line ends
// must not grow without bound.
const longestLine = 64 << 10

// logOutput logs what a program says, line by line, without the secrets of the run:
// they are taken out before lines are made of it, because a secret may have several.
func logOutput(env *stages.Env, r io.Reader) {
	lines := &lineWriter{log: env.Log}
	defer lines.flush()
	var to io.Writer = lines
	if env.Mask != nil {
		mask := env.Mask(lines)
		defer mask.Close()
		to = mask
	}
	_, _ = io.Copy(to, r) // what cannot be read any more was said by nobody
}

// lineWriter logs each line that is written to it.
type lineWriter struct {
	log  stages.Logger
	rest []byte // a line that has not ended yet
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, '\n')
		switch {
		case end >= 0 && end <= longestLine:
			w.line(w.rest[:end])
			w.rest = w.rest[end+1:]
		case len(w.rest) > longestLine:
			w.line(w.rest[:longestLine])
			w.rest = w.rest[longestLine:]
		default:
			w.rest = bytes.Clone(w.rest)
			return len(p), nil
		}
	}
}

func (w *lineWriter) line(b []byte) {
	w.log.Info(strings.ToValidUTF8(string(bytes.TrimSuffix(b, []byte("\r"))), "\uFFFD"))
}

// flush logs a last line that has no end.
func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.line(w.rest)
		w.rest = nil
	}
}
