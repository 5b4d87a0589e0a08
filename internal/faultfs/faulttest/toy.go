//go:build unix

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pipe/internal/manifest"
	"pipe/stages"
)

// The toy's pipeline has six stages. words, shelf and grow depend on the data, train on
// the level, too; what choose makes is published as a folder if sweep does not say that
// it is worse, what grow makes as a file. grow can be gone on with.
const toyPipeline = `pipeline: toy
stages:
  words: { in: { data: ./data.txt } }
  shelf: { in: { text: "${words.text}" } }
  grow:
    in: { text: "${words.text}" }
    publish: { grown: out/grown.txt }
  train:
    in: { shelf: "${shelf.shelf}", grown: "${grow.grown}" }
    with: { level: %d }
  sweep: { in: { checkpoints: "${train.checkpoints}" } }
  choose:
    in: { checkpoints: "${train.checkpoints}", sweep: "${sweep.report}" }
    publish: { best: { to: out/best, unless_worse: sweep } }
`

// toyStages are the names of the stages, in an order in which they can run.
var toyStages = []string{"words", "shelf", "grow", "train", "sweep", "choose"}

type (
	none      struct{}
	textInput struct {
		Text stages.Input `port:"text" type:"file" help:"text"`
	}
	trainParams struct {
		Level int `yaml:"level" required:"true" help:"what it scores"`
	}
	growParams struct{}
)

// Resumable says that grow keeps a state.
func (*growParams) Resumable() bool { return true }

func toyKinds() *stages.Registry {
	type data struct {
		Data stages.Input `port:"data" type:"file" help:"data"`
	}
	type text struct {
		Text string `port:"text" type:"file" help:"text"`
	}
	type shelf struct {
		Shelf string `port:"shelf" type:"folder" help:"a folder with folders"`
	}
	type materials struct {
		Shelf stages.Input `port:"shelf" type:"folder" help:"a folder"`
		Grown stages.Input `port:"grown" type:"file" help:"text"`
	}
	type checkpoints struct {
		Checkpoints string `port:"checkpoints" type:"folder" help:"models"`
	}
	type judged struct {
		Checkpoints stages.Input `port:"checkpoints" type:"folder" help:"models"`
	}
	type report struct {
		Report string `port:"report" type:"folder" help:"scores"`
	}
	type candidates struct {
		Checkpoints stages.Input `port:"checkpoints" type:"folder" help:"models"`
		Sweep       stages.Input `port:"sweep" type:"folder" help:"scores"`
	}
	type best struct {
		Best string `port:"best" type:"folder" help:"the best model"`
	}
	return stages.NewRegistry(
		stages.Define("words", "1", "Writes words large.", func(_ context.Context, env *stages.Env, _ none, in data, out text) error {
			b, err := os.ReadFile(in.Data.Path)
			env.Log.Info("read", "bytes", len(b))
			note, noteErr := env.Attach("note.txt")
			if noteErr == nil {
				_, noteErr = fmt.Fprintf(note, "%d bytes\n", len(b))
				noteErr = errors.Join(noteErr, note.Close())
			}
			return errors.Join(err, noteErr, os.WriteFile(out.Text, []byte(strings.ToUpper(string(b))), 0o666))
		}),
		stages.Define("shelf", "1", "Makes a folder.", func(_ context.Context, _ *stages.Env, _ none, in textInput, out shelf) error {
			b, err := os.ReadFile(in.Text.Path)
			return errors.Join(err, os.MkdirAll(filepath.Join(out.Shelf, "deep", "empty"), 0o777),
				os.WriteFile(filepath.Join(out.Shelf, "text"), b, 0o666),
				os.WriteFile(filepath.Join(out.Shelf, "deep", "run"), []byte("#!/bin/sh\n"), 0o777),
				os.WriteFile(filepath.Join(out.Shelf, "deep", "length"), fmt.Append(nil, len(b)), 0o666))
		}),
		stages.Define("grow", "1", "Grows, and keeps how far it is.", grow),
		stages.Define("train", "1", "Makes a model.", func(_ context.Context, _ *stages.Env, p trainParams, in materials, out checkpoints) error {
			text, err1 := os.ReadFile(filepath.Join(in.Shelf.Path, "text"))
			grown, err2 := os.ReadFile(in.Grown.Path)
			one := filepath.Join(out.Checkpoints, "one")
			return errors.Join(err1, err2, os.MkdirAll(filepath.Join(one, "more"), 0o777),
				os.WriteFile(filepath.Join(one, "config"), fmt.Append(nil, p.Level), 0o666),
				os.WriteFile(filepath.Join(one, "weights"), append(text, grown...), 0o666),
				os.WriteFile(filepath.Join(one, "more", "start"), []byte("#!/bin/sh\n"), 0o777))
		}),
		stages.Define("sweep", "1", "Scores models.", func(_ context.Context, env *stages.Env, _ none, in judged, out report) error {
			dir := in.Checkpoints.Path
			if _, err := os.Stat(filepath.Join(dir, "one")); err == nil {
				dir = filepath.Join(dir, "one")
			}
			level, err1 := os.ReadFile(filepath.Join(dir, "config"))
			digest, err2 := manifest.Folder(dir)
			env.Log.Info("asked", "level", string(level))
			return errors.Join(err1, err2, os.Mkdir(out.Report, 0o777), os.WriteFile(filepath.Join(out.Report, "score.json"),
				fmt.Appendf(nil, `{"suite":"s","base":"b","template":"t","scores":{"%s":%s}}`, digest, level), 0o666))
		}),
		stages.Define("choose", "1", "Chooses.", func(_ context.Context, _ *stages.Env, _ none, in candidates, out best) error {
			return os.CopyFS(out.Best, os.DirFS(filepath.Join(in.Checkpoints.Path, "one")))
		}),
	)
}

// savedMessage is logged by grow when it has saved its state.
const savedMessage = "saved"

// grow doubles its text three times, and keeps what it has after each.
func grow(_ context.Context, env *stages.Env, _ growParams, in textInput, out struct {
	Grown string `port:"grown" type:"file" help:"text"`
}) error {
	text, err := os.ReadFile(in.Text.Path)
	if err != nil {
		return err
	}
	done := 0
	if dir, err := env.State.Load(); err != nil {
		return err
	} else if dir != "" {
		b, err1 := os.ReadFile(filepath.Join(dir, "text"))
		steps, err2 := os.ReadFile(filepath.Join(dir, "steps", "done"))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		text, done = b, len(steps)
	}
	for ; done < 3; done++ {
		text = append(text, fmt.Sprintf("%d: %s", done, text)...)
		err := env.State.Commit(nil, func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "text"), text, 0o666), os.Mkdir(filepath.Join(dir, "steps"), 0o777),
				os.WriteFile(filepath.Join(dir, "steps", "done"), []byte(strings.Repeat("x", done+1)), 0o666))
		})
		if err != nil {
			return err
		}
		env.Log.Info(savedMessage)
		select {
		case <-env.Stop:
			return stages.ErrStopped
		default:
		}
	}
	env.State.Discard()
	return os.WriteFile(out.Grown, text, 0o666)
}

// toyTime is when the toy's inputs were last touched: long before any run.
var toyTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Edition is one version of the toy's inputs. A later one scores better.
type Edition int

func (e Edition) data() string {
	return fmt.Sprintf("what edition %d is about\n%s\n", e, strings.Repeat("another line of it ", 3+int(e)))
}
