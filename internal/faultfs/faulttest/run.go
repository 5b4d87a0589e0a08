//go:build unix

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pipe/cache"
	"pipe/pipeline"
	"pipe/pipeline/runner"
	"pipe/pipeline/source"
)

// Toy is a workspace with the toy's pipeline.
type Toy struct {
	Dir       string
	StopAfter int // ask the run to end when it has saved a state so often; 0 never
}

func (t Toy) storeDir() string { return filepath.Join(t.Dir, ".pipe") }
func (t Toy) file() string     { return filepath.Join(t.Dir, "toy.yaml") }
func (t Toy) best() string     { return filepath.Join(t.Dir, "out", "best") }
func (t Toy) grown() string    { return filepath.Join(t.Dir, "out", "grown.txt") }

// Edit brings the workspace to an edition. It may be there already.
func (t Toy) Edit(e Edition) error {
	err := os.MkdirAll(t.Dir, 0o777)
	for name, text := range map[string]string{"data.txt": e.data(), "toy.yaml": fmt.Sprintf(toyPipeline, e)} {
		path := filepath.Join(t.Dir, name)
		if have, readErr := os.ReadFile(path); readErr == nil && string(have) == text {
			continue
		}
		err = errors.Join(err, os.WriteFile(path, []byte(text), 0o666), os.Chtimes(path, toyTime, toyTime))
	}
	return err
}

// Outcome is how a run ended, as pipe would tell.
type Outcome struct {
	Exit   int
	Errors []string
	Ran    map[string]bool          // stages that were executed
	Made   map[string]*cache.Record // by stage
}

func (o Outcome) said() string { return strings.Join(o.Errors, "\n") }

// Exit codes of pipe that a run can end with here.
const (
	exitFailed         = 1
	exitUsage          = 2
	exitInfrastructure = 5
	exitInterrupted    = 130
)

// Run does what pipe run does.
func (t Toy) Run() Outcome {
	o := Outcome{Ran: map[string]bool{}, Made: map[string]*cache.Record{}}
	exit, err := t.run(&o)
	o.Exit = exit
	if err != nil {
		o.Errors = append(o.Errors, err.Error())
		if runner.IsInfrastructure(err) {
			o.Exit = exitInfrastructure
		}
	}
	return o
}

func (t Toy) run(o *Outcome) (exit int, err error) {
	text, err := os.ReadFile(t.file())
	if err != nil {
		return exitUsage, err
	}
	file, err := pipeline.Parse(t.file(), text)
	if err != nil {
		return exitUsage, err
	}
	plan, err := file.Resolve(toyKinds(), pipeline.Options{})
	if err != nil {
		return exitUsage, err
	}
	store, err := cache.OpenToRead(t.storeDir())
	if err != nil {
		return exitInfrastructure, err
	}
	sink := &sink{outcome: o, stopAfter: t.StopAfter, stop: make(chan struct{})}
	r := &runner.Runner{Plan: plan, Store: store, Sources: source.Sources{}, Sink: sink, Jobs: 1,
		Machine: pipeline.Resources{CPU: 2}, Dir: t.Dir, Now: t.clock(), Stop: sink.stop}
	if err := r.Preflight(); err != nil {
		return exitUsage, err
	}
	if err := store.Create(); err != nil {
		return exitInfrastructure, err
	}
	ctx := context.Background()
	end, _, err := store.RegisterRun(ctx, "run\x00"+t.file()+"\x00default", false)
	if err != nil {
		return exitInfrastructure, err
	}
	defer end()
	summary, err := r.Run(ctx)
	if err != nil {
		return exitInfrastructure, err
	}
	for _, s := range toyStages {
		if record := r.Record(s); record != nil {
			o.Made[s] = record
		}
	}
	return summary.Exit, nil
}

// clock is a clock that tells the same in each run of the same order: an hour after the
// last run it begins, and each look takes a millisecond.
func (t Toy) clock() func() time.Time {
	runs, _ := os.ReadDir(filepath.Join(t.storeDir(), "runs"))
	start := toyTime.Add(time.Duration(len(runs)+1) * time.Hour)
	var looks atomic.Int64
	return func() time.Time { return start.Add(time.Duration(looks.Add(1)) * time.Millisecond) }
}

// sink keeps what a run says of failures, and ends it.
type sink struct {
	stop chan struct{}

	mu        sync.Mutex // guards what follows
	outcome   *Outcome
	stopAfter int
}

func (s *sink) Event(e runner.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Error != "" {
		s.outcome.Errors = append(s.outcome.Errors, e.Error)
	}
	if e.Type == "stage_start" {
		s.outcome.Ran[e.Stage] = true
	}
	if e.Message == savedMessage {
		if s.stopAfter--; s.stopAfter == 0 {
			close(s.stop)
		}
	}
}

func (s *sink) Summary(runner.Summary) {}
