//go:build unix

package faulttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pipe/internal/faultfs"
	"pipe/pipeline/runner"
)

// record runs editions 1 and 2 under a journal.
func (l *Lab) record() error {
	if l.journal != nil {
		return nil
	}
	toy := Toy{Dir: filepath.Join(l.dir, "journal")}
	if err := toy.Edit(1); err != nil {
		return err
	}
	j := NewJournal(toy.Dir)
	defer faultfs.Set(j.Hook)()
	for e := Edition(1); e <= 2; e++ {
		if err := toy.Edit(e); err != nil {
			return err
		}
		if o := toy.Run(); o.Exit != 0 {
			return errors.New(o.said())
		}
		l.acked = append(l.acked, j.Len())
	}
	l.journal = j
	return nil
}

// changes is how many changes of the disk a power cut may come after.
func (l *Lab) changes() (int, error) {
	if err := l.record(); err != nil {
		return 0, err
	}
	return l.journal.Len(), nil
}

func (l *Lab) tryCut(c Case, toy Toy) error {
	if err := l.record(); err != nil {
		return err
	}
	if err := l.journal.Disk(min(c.Op, l.journal.Len())).Cut(c.Seed, toy.Dir); err != nil {
		return err
	}
	least := 0
	for _, n := range l.acked {
		if c.Op >= n {
			least++
		}
	}
	if err := toy.Edit(2); err != nil {
		return err
	}
	truths := l.truths[:2]
	if err := truths.Served(toy, least); err != nil {
		return err
	}
	if ledger, _ := os.ReadFile(runner.LedgerOf(toy.best())); bytes.Count(ledger, []byte("\n")) < least {
		return fmt.Errorf("the ledger lacks what was acknowledged: %q", ledger)
	}
	o := toy.Run()
	switch {
	case o.Exit != 0:
		return fmt.Errorf("the next run ended with %d: %s", o.Exit, o.said())
	case least == 2 && len(o.Ran) > 0:
		return fmt.Errorf("results of a run that had ended are gone: %v ran again", o.Ran)
	}
	return truths.Published(toy)
}
