package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"pipe/internal/manifest"
	"pipe/internal/problem"
)

// Every text that leaves the runner, to the screen, the history, a log or a record,
// passes here or through stageLog. Places, names and digests are not looked at: they
// come from the pipeline file.

// maskEvent hides the run's secrets in an event's texts.
func (r *Runner) maskEvent(e Event) Event {
	if r.mask() == nil {
		return e
	}
	return r.maskedEvent(e)
}

// maskedEvent is apart so that an event that needs no mask need not leave the stack.
func (r *Runner) maskedEvent(e Event) Event {
	for _, text := range []*string{&e.Why, &e.Text, &e.Message, &e.Withheld, &e.Error, &e.Unit, &e.RateUnit, &e.Command} {
		*text = r.mask().Text(*text)
	}
	e.Fields, e.Set = r.maskFields(e.Fields), r.maskTexts(e.Set)
	e.Inputs, e.Params = maps.Clone(e.Inputs), maps.Clone(e.Params)
	for port, use := range e.Inputs {
		masked := *use
		masked.Source, masked.At = r.mask().Text(use.Source), r.mask().Text(use.At)
		e.Inputs[port] = &masked
	}
	for name, place := range e.Params {
		e.Params[name] = r.mask().Text(place)
	}
	e.Values, e.Samples = slices.Clone(e.Values), slices.Clone(e.Samples)
	for i := range e.Values {
		e.Values[i].Name = r.mask().Text(e.Values[i].Name)
	}
	for i := range e.Samples {
		for _, text := range []*string{&e.Samples[i].Of, &e.Samples[i].Text, &e.Samples[i].Note} {
			*text = r.mask().Text(*text)
		}
	}
	return e
}

// maskSummary hides the run's secrets in a summary, in place.
func (r *Runner) maskSummary(s Summary) Summary {
	for i := range s.Stages {
		s.Stages[i].Why = r.mask().Text(s.Stages[i].Why)
	}
	for _, list := range [][]Published{s.Published, s.Kept} {
		for i := range list {
			list[i].Why = r.mask().Text(list[i].Why)
		}
	}
	s.Error = r.mask().Text(s.Error)
	return s
}

func (r *Runner) maskTexts(texts []string) []string {
	texts = slices.Clone(texts)
	for i := range texts {
		texts[i] = r.mask().Text(texts[i])
	}
	return texts
}

// maskFields hides secrets in fields. A number that is a secret becomes a text.
func (r *Runner) maskFields(fields []Field) []Field {
	if r.mask() == nil {
		return fields
	}
	masked := make([]Field, len(fields))
	for i, f := range fields {
		masked[i] = Field{Name: r.mask().Text(f.Name), Value: f.Value}
		switch x := f.Value.(type) {
		case nil:
		case []string:
			masked[i].Value = r.maskTexts(x)
		case string:
			masked[i].Value = r.mask().Text(x)
		default:
			b, _ := json.Marshal(x) // as it will be written: Sprint has 1.2e+07
			if text := string(b); r.mask().Text(text) != text {
				masked[i].Value = r.mask().Text(text)
			}
		}
	}
	return masked
}

// maskLog hides secrets in the lines of a stored log, which may be older than their
// declaration.
func (r *Runner) maskLog(lines []byte) []byte {
	var masked []byte
	for line := range bytes.Lines(lines) {
		var e logEntry
		if r.mask().Text(string(line)) != string(line) && json.Unmarshal(line, &e) == nil {
			e.Message, e.Fields = r.mask().Text(e.Message), r.maskFields(e.Fields)
			if b, err := json.Marshal(e); err == nil {
				line = append(b, '\n')
			}
		}
		masked = append(masked, line...)
	}
	return masked
}

// maskProblems hides secrets in problems: a line of the file that is shown may hold one.
func (r *Runner) maskProblems(problems problem.List) problem.List {
	for i := range problems {
		problems[i] = r.maskProblem(problems[i])
	}
	return problems
}

func (r *Runner) maskProblem(p problem.Problem) problem.Problem {
	p.Message, p.Hint, p.Source = r.mask().Text(p.Message), r.mask().Text(p.Hint), r.mask().Text(p.Source)
	return p
}

// maskWriter is Env.Mask.
func (r *Runner) maskWriter() func(io.Writer) io.WriteCloser {
	if r.mask() == nil {
		return nil
	}
	return r.mask().Writer
}

// maskFile returns a file that what is written to it reaches without secrets.
func (r *Runner) maskFile(f io.WriteCloser) io.WriteCloser {
	if r.mask() == nil {
		return f
	}
	return maskedFile{r.mask().Writer(f), f}
}

type maskedFile struct {
	io.WriteCloser
	file io.Closer
}

func (f maskedFile) Close() error { return errors.Join(f.WriteCloser.Close(), f.file.Close()) }

// leak is a secret in what a stage made.
type leak struct{ output, secret, place string }

func (e *leak) Error() string {
	return fmt.Sprintf("output %q holds the value of the secret %s (%s); nothing of it is kept", e.output, e.secret, e.place)
}

// checkLeaks fails a stage whose outputs hold one of its secrets as it is.
func (a *attempt) checkLeaks(ctx context.Context) error {
	if len(a.world.secrets) == 0 {
		return nil
	}
	for _, o := range a.step.Outputs {
		root := filepath.Join(a.dir, "out", o.Name)
		info, err := os.Stat(root)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err == nil && !info.IsDir():
			err = a.findLeak(ctx, o.Name, root, "")
		case err == nil:
			err = manifest.Walk(root, func(rel string, mode byte) error {
				if name := secretIn([]byte(rel), a.world.secrets); name != "" {
					return &leak{o.Name, name, "in the name of a file"}
				}
				if mode == 'd' {
					return nil
				}
				return a.findLeak(ctx, o.Name, filepath.Join(root, filepath.FromSlash(rel)), rel)
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scanChunk is how much of an output is looked at at once.
const scanChunk = 1 << 20

// findLeak looks for the stage's secrets in a file, in bounded memory.
func (a *attempt) findLeak(ctx context.Context, output, path, rel string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	overlap := 0
	for _, secret := range a.world.secrets {
		overlap = max(overlap, len(secret)-1)
	}
	buf, kept := make([]byte, overlap+scanChunk), 0
	for offset := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(f, buf[kept:])
		seen := buf[:kept+n]
		if name := secretIn(seen, a.world.secrets); name != "" {
			place := fmt.Sprintf("byte %d", offset-int64(kept)+int64(bytes.Index(seen, []byte(a.world.secrets[name]))))
			if rel != "" {
				place = rel + ", " + place
			}
			return &leak{output, name, place}
		}
		if err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil
			}
			return err
		}
		offset += int64(n)
		kept = copy(buf, seen[max(len(seen)-overlap, 0):])
	}
}

// secretIn names a secret that b holds as it is, or returns "".
func secretIn(b []byte, secrets map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if bytes.Contains(b, []byte(secrets[name])) {
			return name
		}
	}
	return ""
}
