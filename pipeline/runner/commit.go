package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pipe/cache"
	"pipe/internal/faultfs"
)

// checkInputs fails the stage if an input is no longer what it was: what the stage
// read may be neither the old nor the new content.
func (a *attempt) checkInputs(ctx context.Context) error {
	for _, b := range a.inputs {
		if b.pin == nil {
			port := b.input.Port.Name
			err := a.runner.Store.Dematerialize(b.content.Object, filepath.Join(a.dir, "in", port))
			switch {
			case err == nil:
			case !errors.Is(err, cache.ErrDamaged) || IsInfrastructure(err): // nobody knows what the stage did
				return fmt.Errorf("input %s: %w", port, err)
			default:
				return fmt.Errorf("input %s (%s) changed while running: %w; a stage must not write to its inputs", port, b.input.Output(), err)
			}
			continue
		}
		path, err := b.pin.Changed(ctx, a.runner.Store)
		if err != nil {
			return err
		}
		if path != "" {
			return fmt.Errorf("input %s changed while running", path)
		}
	}
	return nil
}

func (a *attempt) checkOutputs() error {
	var missing []error
	declared := map[string]bool{}
	for _, o := range a.step.Outputs {
		declared[o.Name] = true
		info, err := faultfs.Stat(filepath.Join(a.dir, "out", o.Name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			if !o.Optional {
				missing = append(missing, fmt.Errorf("output %q was not written", o.Name))
			}
		case err != nil:
			return err
		case !a.step.Kind.Open && info.IsDir() != o.Folder:
			missing = append(missing, fmt.Errorf("internal error: output %q is no %s", o.Name, o.Type()))
		}
	}
	entries, err := faultfs.ReadDir(filepath.Join(a.dir, "out"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !declared[e.Name()] {
			missing = append(missing, fmt.Errorf("%q was written beside the outputs and is not declared", e.Name()))
		}
	}
	return errors.Join(missing...)
}

// commit stores outputs, attachments, pre-image and log, and then the record.
func (a *attempt) commit(ctx context.Context, started time.Time, recompute bool) error {
	store, record := a.runner.Store, &a.record
	record.Key, record.Kind, record.Version = a.key, a.step.Kind.Name, a.step.Kind.Version
	record.Outputs = map[string]cache.Object{}
	for _, o := range a.step.Outputs {
		path := filepath.Join(a.dir, "out", o.Name)
		if _, err := faultfs.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		object, err := store.Put(ctx, path)
		if err != nil {
			return fmt.Errorf("output %s: %w", o.Name, err)
		}
		record.Outputs[o.Name] = object
	}
	for _, f := range a.attached {
		if err := f.Close(); err != nil {
			return fmt.Errorf("attachment %s: %w", f.name, err)
		}
		object, err := store.Put(ctx, f.path)
		if err != nil {
			return fmt.Errorf("attachment %s: %w", f.name, err)
		}
		if record.Attachments == nil {
			record.Attachments = map[string]cache.Object{}
		}
		record.Attachments[f.name] = object
	}
	if err := a.describe(); err != nil {
		return err
	}
	if recompute {
		a.compare()
	}
	if lines := a.log.lines(); len(lines) > 0 {
		log, err := store.PutCompressed(lines)
		if err != nil {
			return err
		}
		record.Log = &log
	}
	record.Made.Time, record.Made.Seconds, record.Made.Pipe = started.UTC(), a.runner.Now().Sub(started).Seconds(), a.runner.Version
	adopted, err := store.Commit(record, recompute)
	if err == nil {
		a.record = *adopted
	}
	return err
}

func (a *attempt) closeAttachments() {
	for _, f := range a.attached {
		_ = f.Close() // again, if the stage is committed; else nothing is kept
	}
}

// compare says whether a recomputation gave the bytes that the record had.
func (a *attempt) compare() {
	old, err := a.runner.Store.ReadRecord(a.key)
	if err != nil {
		return
	}
	for _, o := range a.step.Outputs {
		before, now := old.Outputs[o.Name], a.record.Outputs[o.Name]
		if before == now {
			a.log.show("info", "recomputed: the same bytes", "output", o.Name)
		} else {
			a.log.show("warn", "recomputed: other bytes than before", "output", o.Name, "before", before.Digest.Short(), "now", now.Digest.Short())
		}
	}
}
