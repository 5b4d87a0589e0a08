package runner

import (
	"errors"
	"fmt"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline"
)

// gathering is what several steps made, as one folder: an entry for each, called by
// the values in the step's name. A step that made a file has a file there, one that
// made a folder a folder; its bytes are those in the store. The folder's manifest is
// made of the members' digests, so that it is known without reading a file of theirs.
type gathering struct {
	object   cache.Object
	manifest []byte
	members  []member
}

type member struct {
	step   *pipeline.Step
	object cache.Object
}

// gather puts together what the makers of an input made.
func (r *Runner) gather(in pipeline.Input, records map[*pipeline.Step]*cache.Record) (*gathering, error) {
	g := &gathering{object: cache.Object{Kind: cache.Tree}}
	var entries []manifest.Entry
	for _, s := range in.Gathered {
		record := records[s]
		if record == nil {
			return nil, fmt.Errorf("stage %q has no result", s.Name)
		}
		o, made := record.Outputs[in.FromPort]
		if !made {
			return nil, &errNoOutput{s.Name, in.FromPort, record.Withheld}
		}
		g.members = append(g.members, member{s, o})
		g.object.Size += o.Size
		name := s.Matrix.String()
		if o.Kind == cache.File {
			entries = append(entries, manifest.Entry{Path: name, Mode: '-', Digest: o.Digest, Size: o.Size})
			continue
		}
		inside, err := r.Store.ReadTree(o.Digest)
		if errors.Is(err, cache.ErrDamaged) {
			return nil, &errDamagedInput{s}
		}
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", s.Name, in.FromPort, err)
		}
		if len(inside) == 0 {
			entries = append(entries, manifest.Entry{Path: name, Mode: 'd'})
		}
		for _, e := range inside {
			e.Path = name + "/" + e.Path
			entries = append(entries, e)
		}
	}
	g.manifest = manifest.Encode(entries)
	g.object.Digest = manifest.Sum(g.manifest)
	return g, nil
}

// ready verifies what was gathered and keeps the folder's manifest, so that the folder
// can be had like any other. The error names the step whose output is damaged.
func (g *gathering) ready(store *cache.Store) error {
	for _, m := range g.members {
		if err := store.Verify(m.object); errors.Is(err, cache.ErrDamaged) {
			return &errDamagedInput{m.step}
		} else if err != nil {
			return fmt.Errorf("%s: %w", m.step.Name, err)
		}
	}
	_, err := store.PutBytes(g.manifest)
	return err
}
