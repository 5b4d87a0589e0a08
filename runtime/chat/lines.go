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

	textLine // the current one
}

// textLine is a line that is not blank.
type textLine struct {
	number int // from 1
	text   string
	wrong  *lineError // what was seen before it was read as JSON
}

// add notes a problem in the current line.
func (l *lines) add(e *lineError) {
	p := problem.At(l.file, l.number, e.at+1, "%s", e.message)
	p.Hint = e.hint
	if len(l.problems) < maxProblems {
		// The excerpt shows what is around the place; the rest of a long line is not kept.
		p.Source = strings.Clone(l.text[:min(len(l.text), e.at+200)])
	}
	l.keep(p)
}

// keep lists a problem, or counts it if there are too many.
func (l *lines) keep(p problem.Problem) {
	if len(l.problems) < maxProblems {
		l.problems.Add(p)
		return
	}
	if l.more++; l.more == 1 {
		p.Source = ""
		l.next = p
	}
}

// join adds what another collector found in lines behind l's.
func (l *lines) join(after *lines) {
	for _, p := range after.problems {
		l.keep(p)
	}
	if after.more > 0 {
		l.keep(after.next)
		l.more += after.more - 1
	}
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
	return l.split(r, func(line textLine) { l.read(line, use) })
}

// split calls take with each line that is not blank. It fails if r does.
func (l *lines) split(r io.Reader, take func(line textLine)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var buf []byte
	for number := 1; ; number++ {
		line, tooLong, err := readLine(in, buf[:0])
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s:%d: %w", l.file, number, err)
		}
		buf = line
		t := textLine{number: number, text: string(bytes.TrimRight(line, "\r\n"))}
		switch rest, bom := strings.CutPrefix(t.text, "\ufeff"); {
		case tooLong:
			t.text = strings.Clone(t.text[:100])
			t.wrong = wrong(maxLine, "line longer than %d bytes", maxLine).withHint("a file has one JSON object a line")
		case bom && number == 1:
			t.wrong = wrong(0, "the file begins with a byte order mark").withHint("save it as UTF-8 without BOM")
			t.text = "   " + rest // columns stay as they are
		}
		if t.wrong != nil || strings.Trim(t.text, " \t\r") != "" {
			take(t)
		}
		if err == io.EOF {
			return nil
		}
	}
}

// read makes a line the current one and calls use with its value if it is JSON.
func (l *lines) read(line textLine, use func(v value)) {
	l.textLine = line
	if line.wrong != nil {
		l.add(line.wrong)
		if line.wrong.at == maxLine || strings.Trim(line.text, " \t\r") == "" {
			return // only its beginning is known
		}
	}
	if v, bad := parseLine(line.text); bad != nil {
		l.add(bad)
	} else {
		use(v)
	}
}

// readLine returns the next line, with its end if it has one, or the beginning of
// a line that is too long, in the memory of line. It takes the whole line from in either way.
func readLine(in *bufio.Reader, line []byte) (_ []byte, tooLong bool, err error) {
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
