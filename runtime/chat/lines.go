package chat

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"pipe/internal/problem"
)

// maxLine is the longest line that is read. A record of 100,000 words has less
// than 1 MiB.
const maxLine = 8 << 20

// maxProblems is how many problems of a file are listed one by one.
const maxProblems = 100

// lines reads a JSON Lines file and collects what is wrong with it.
type lines struct {
	file     string
	problems problem.List
	more     int             // problems beyond maxProblems
	next     problem.Problem // the first of them

	number int    // of the current line, from 1
	text   string // the current line
}

// add notes a problem in the current line.
func (l *lines) add(e *lineError) {
	p := problem.At(l.file, l.number, e.at+1, "%s", e.message)
	p.Hint = e.hint
	if len(l.problems) == maxProblems {
		if l.more++; l.more == 1 {
			l.next = p
		}
		return
	}
	// The excerpt shows what is around the place; the rest of a long line is not kept.
	p.Source = strings.Clone(l.text[:min(len(l.text), e.at+200)])
	l.problems.Add(p)
}

// err returns what was collected.
func (l *lines) err() error {
	if err := l.problems.Err(); err == nil || l.more == 0 {
		return err
	}
	l.next.Message = fmt.Sprintf("and %d more problems from here on", l.more)
	l.next.Hint = ""
	return append(l.problems, l.next)
}

// each calls use with the value of each line that is not blank and is JSON. It
// fails if r does.
func (l *lines) each(r io.Reader, use func(v value)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for l.number = 1; ; l.number++ {
		line, tooLong, err := readLine(in)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s:%d: %w", l.file, l.number, err)
		}
		l.text = string(bytes.TrimRight(line, "\r\n"))
		switch rest, bom := strings.CutPrefix(l.text, "\ufeff"); {
		case tooLong:
			l.text = l.text[:100]
			l.add(wrong(maxLine, "line longer than %d bytes", maxLine).withHint("a file has one JSON object a line"))
			l.text = ""
		case bom && l.number == 1:
			l.add(wrong(0, "the file begins with a byte order mark").withHint("save it as UTF-8 without BOM"))
			l.text = "   " + rest // columns stay as they are
		}
		if strings.Trim(l.text, " \t\r") != "" {
			if v, bad := parseLine(l.text); bad != nil {
				l.add(bad)
			} else {
				use(v)
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine returns the next line, with its end if it has one, or the beginning of
// a line that is too long. It takes the whole line from in either way.
func readLine(in *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if !tooLong {
			line = append(line, part...)
			tooLong = len(bytes.TrimRight(line, "\r\n")) > maxLine
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}
