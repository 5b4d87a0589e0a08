//go:build unix

package faulttest

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"pipe/internal/faultfs"
)

func (l *Lab) tryErrno(c Case, toy Toy) (bool, error) {
	s, truths, err := l.set(c.Scene, toy)
	if err != nil {
		return false, err
	}
	i := &Injector{Fault: Fault{Op: c.Op, Errno: Errnos[c.Errno], Sticky: c.Sticky, Half: c.Half}}
	remove := faultfs.Set(i.Hook)
	o := toy.Run()
	remove()
	what, hit := i.Hit()
	if !hit {
		return false, nil
	}
	if o.Exit == 0 {
		err = truths.Published(toy)
	} else {
		err = errors.Join(truths.Served(toy, s.least), tells(o, i.Fault, what))
	}
	if err == nil && !c.Sticky && !cleaning(what) {
		err = Clean(toy)
	}
	if err == nil {
		err = recovers(toy, truths)
	}
	if err != nil {
		err = fmt.Errorf("%s (exit %d): %w", what, o.Exit, err)
	}
	return true, err
}

// cleaning says whether what was hit was an attempt to remove what is left.
func cleaning(what string) bool {
	kind, path, _ := strings.Cut(what, " ")
	return kind == "remove" || (kind == "stat" || kind == "readdir") && strings.Contains(path, ".pipe-place-")
}

// tells returns an error unless a failed run says what failed, where, and that it is
// the machine's fault.
func tells(o Outcome, f Fault, what string) error {
	switch said := o.said(); {
	case !strings.Contains(said, f.Errno.Error()):
		return fmt.Errorf("does not name the cause %q: %q", f.Errno, said)
	case !strings.Contains(said, string(filepath.Separator)):
		return fmt.Errorf("does not name a path: %q", said)
	case f.Errno == syscall.EACCES && o.Exit == exitFailed && (ofStage(what) || ofStage(said)):
		return nil
	case f.Errno == syscall.EACCES && o.Exit == exitUsage && strings.Contains(said, "toy.yaml:"):
		return nil // the file names what may not be looked at, and where
	case o.Exit != exitInfrastructure:
		return fmt.Errorf("exit is %d, want %d: %q", o.Exit, exitInfrastructure, said)
	}
	return nil
}

// ofStage says whether what was hit is a stage's own: its inputs, outputs and
// attachments. What may not be done with them is its failure.
func ofStage(what string) bool {
	if strings.Contains(what, "attach/") {
		return true
	}
	return strings.Contains(what, "/.pipe/attempts/") && (strings.Contains(what, "/in/") || strings.Contains(what, "/out"))
}

// recovers returns an error unless the next run needs no help.
func recovers(toy Toy, truths Truths) error {
	o := toy.Run()
	if o.Exit != 0 {
		return fmt.Errorf("the next run ended with %d: %s", o.Exit, o.said())
	}
	if len(o.Made) != len(toyStages) {
		return fmt.Errorf("the next run has results of %d stages only", len(o.Made))
	}
	if err := truths.Published(toy); err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	return nil
}
