package main

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// output is a standard output that is no terminal: a file that may be on a full disk. It
// remembers that something could not be written, so that no command that prints need look.
type output struct {
	io.Writer
	mu     sync.Mutex // guards failed
	failed error      // the first one
}

// standardOutput is what commands print to: a terminal as it is, else an output.
func standardOutput(f *os.File) io.Writer {
	if term.IsTerminal(int(f.Fd())) {
		return f
	}
	return &output{Writer: f}
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.failed == nil {
			o.failed = err
		}
	}
	return n, err
}

// lost is the error of what a command could not print, or nil.
func lost(out io.Writer) error {
	o, ok := out.(*output)
	if !ok {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}
