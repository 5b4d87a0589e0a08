package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pipe/cache"
	"pipe/internal/document"
	"pipe/internal/manifest"
	"pipe/pipeline"
	"pipe/pipeline/runner"
	"pipe/runtime/chat"
)

// quantizeKind is the stage kind that makes bases.
const quantizeKind = "quantize-base"

// openBase returns a folder with the base of an adapter: what the store made of it,
// or what it is made of again. release removes it.
func (a *app) openBase(store *cache.Store, info chat.Info) (dir string, release func(), err error) {
	if info.Base == nil {
		return "", nil, usageError{errors.New("the adapter does not say which base it belongs to; pass it: --base DIR")}
	}
	if release, err := store.Hold(); err == nil { // what is linked to stays by itself
		defer release()
	}
	o, err := a.findBase(store, *info.Base)
	if err != nil {
		return "", nil, err
	}
	if err := store.Verify(o); err != nil {
		return "", nil, err
	}
	attempt, remove, err := store.NewAttempt()
	if errors.Is(err, fs.ErrPermission) { // somebody else's store
		attempt, err = os.MkdirTemp("", "pipe-base-*")
		remove = func() { os.RemoveAll(attempt) }
	}
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(attempt, "base")
	if err := store.Materialize(o, dir); err != nil {
		remove()
		return "", nil, err
	}
	return dir, func() {
		_ = store.Dematerialize(o, dir) // damage is found again when the base is next used
		remove()
		_ = store.Close() // what is known of the blobs; it can be found again
	}, nil
}

// findBase returns the quantised base by the content that it was made of. What the
// store lacks is made again if the reference can be had; a plain folder cannot.
func (a *app) findBase(store *cache.Store, base chat.Base) (cache.Object, error) {
	with := "{}"
	if q := base.Quantization; q != nil {
		with = fmt.Sprintf("{type: %s, block_size: %d, double_quant: %v}", q.Type, q.BlockSize, q.DoubleQuant)
	}
	if strings.HasPrefix(base.Reference, "sha256:") {
		return a.findPlainBase(store, base, with)
	}
	text := fmt.Sprintf("pipeline: base\nstages:\n  %s:\n    in: { base: %q }\n    with: %s\n", quantizeKind, base.Reference, with)
	f, err := pipeline.Parse("base of the adapter", []byte(text))
	if err != nil {
		return cache.Object{}, err
	}
	plan, err := f.Resolve(a.kinds, pipeline.Options{})
	if err != nil {
		return cache.Object{}, err
	}
	r := a.newRunner(plan, store)
	forecasts, err := r.Forecast(a.ctx)
	if err != nil {
		return cache.Object{}, err
	}
	record := forecasts[0].Record
	if record == nil {
		fmt.Fprintf(a.stderr, "making the base %s\n", base.Reference)
		if record, err = a.runQuietly(r); err != nil {
			return cache.Object{}, err
		}
	}
	return record.Outputs["base"], nil
}

func (a *app) findPlainBase(store *cache.Store, base chat.Base, with string) (cache.Object, error) {
	digest, err := manifest.ParseDigest(base.Digest)
	if err != nil {
		return cache.Object{}, usageError{fmt.Errorf("%s: base: %w", chat.InfoName, err)}
	}
	node, err := document.Parse(chat.InfoName, []byte("with: "+with))
	if err != nil {
		return cache.Object{}, err
	}
	kind := a.kinds.Lookup(quantizeKind)
	params, problems := kind.Decode(node.Get("with"), node)
	if err := problems.Err(); err != nil {
		return cache.Object{}, usageError{err}
	}
	record, err := runner.FindResult(store, kind, params, []cache.InputContent{
		{Port: "base", Object: cache.Object{Kind: cache.Tree, Digest: digest}},
	})
	if err != nil {
		return cache.Object{}, usageError{fmt.Errorf("the base of the adapter is a folder (%s) that this store has not quantised; pass it: --base DIR", digest.Short())}
	}
	return record.Outputs["base"], nil
}

// silent is a sink that shows nothing but errors.
type silent struct{ err error }

func (s *silent) Event(e runner.Event) {
	if e.Error != "" {
		s.err = errors.New(e.Error)
	}
}

func (s *silent) Summary(runner.Summary) {}

// runQuietly runs a plan of one stage and returns its record.
func (a *app) runQuietly(r *runner.Runner) (*cache.Record, error) {
	if err := r.Preflight(); err != nil {
		return nil, usageError{err}
	}
	sink := &silent{}
	r.Sink, r.Unlisted = sink, true
	summary, err := r.Run(a.ctx)
	switch {
	case err != nil:
		return nil, err
	case sink.err != nil:
		return nil, sink.err
	case summary.Exit != 0:
		return nil, exitStatus(summary.Exit)
	}
	return r.Record(r.Plan.Steps[0].Name), nil
}

// findAdapter returns the folder of an adapter: the one that is named, or what was
// published last. A link is followed here, once: what is published meanwhile is not
// mixed with what is being read.
func findAdapter(store *cache.Store, named string) (string, error) {
	dir, err := findAdapterPlace(store, named)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

func findAdapterPlace(store *cache.Store, named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(filepath.Join(named, "adapter_config.json")); errors.Is(err, fs.ErrNotExist) {
			return "", usageError{fmt.Errorf("%s is no adapter: it has no adapter_config.json", named)}
		}
		return named, nil
	}
	var found string
	err := runner.EachPast(store, func(p *runner.Past) bool {
		for _, e := range p.Events {
			if e.Type != "publish" || e.Decision == "failed" || e.Decision == "withheld" {
				continue
			}
			to := e.To
			if !filepath.IsAbs(to) {
				to = filepath.Join(p.Start.Dir, to)
			}
			if _, err := os.Stat(filepath.Join(to, "adapter_config.json")); err == nil {
				found = to
			}
		}
		return found == ""
	})
	if err == nil && found == "" {
		err = usageError{errors.New("no adapter is named, and none was published from this store; pipe run PIPELINE makes one")}
	}
	return found, err
}
