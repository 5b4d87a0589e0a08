package explain

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline/runner"
)

// Diff says in what two files, folders or lists differ, element by element.
type Diff struct {
	Unit      string    `json:"unit"` // "record", "line", "item", "file"
	Old       int       `json:"old"`  // how many there were
	New       int       `json:"new"`
	Changed   []Changed `json:"changed,omitempty"`
	Added     []Element `json:"added,omitempty"`
	Removed   []Element `json:"removed,omitempty"`
	Reordered bool      `json:"reordered,omitempty"` // those that did not change stand in another order
	Respaced  int       `json:"respaced,omitempty"`  // records that say the same in other bytes
	Note      string    `json:"note,omitempty"`      // why no elements can be told
}

// Element is a record, line, item or file.
type Element struct {
	Line int    `json:"line,omitempty"` // from 1
	ID   string `json:"id,omitempty"`
	Path string `json:"path,omitempty"`
	Text string `json:"text,omitempty"`
}

// Changed is an element in two versions. Of a record, Fields are what moved; of a
// file in a folder, Diff.
type Changed struct {
	Old    Element `json:"old"`
	New    Element `json:"new"`
	Fields []Field `json:"fields,omitempty"`
	Diff   *Diff   `json:"diff,omitempty"`
}

// Field is a part of a record: "user", "answer 2", or a key of the object.
type Field struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// mostCompared is the size, in bytes, up to which files are compared.
const mostCompared = 64 << 20

// contentDiff compares what a port read in two snapshots, where the store or the
// workspace still has it.
func (e *Explainer) contentDiff(old, new runner.InputUse) *Diff {
	if old.Content == nil || new.Content == nil {
		return nil
	}
	if old.Content.Kind != new.Content.Kind {
		return &Diff{Note: fmt.Sprintf("it is a %s, and was a %s", name(new.Content.Kind), name(old.Content.Kind))}
	}
	if old.Content.Kind == cache.Tree {
		return e.treeDiff(old, new)
	}
	return e.fileDiff(old, new, old.Content.Digest, new.Content.Digest, "")
}

func name(k cache.ObjectKind) string {
	if k == cache.Tree {
		return "folder"
	}
	return string(k)
}

// fileDiff compares two files: the inputs themselves, or those at path in them.
func (e *Explainer) fileDiff(old, new runner.InputUse, from, to cache.Digest, path string) *Diff {
	a, ok1 := e.read(old, from, path)
	b, ok2 := e.read(new, to, path)
	if !ok1 || !ok2 {
		which := "before"
		if ok1 {
			which = "now"
		}
		return &Diff{Note: fmt.Sprintf("what it held %s is not kept (inputs up to %d MiB are)", which, mostCompared>>20)}
	}
	return diffBytes(a, b)
}

// read returns a file of an input: from the store, or from the workspace if it is
// still the same there.
func (e *Explainer) read(use runner.InputUse, d cache.Digest, path string) ([]byte, bool) {
	if info, err := os.Stat(e.Store.BlobPath(d)); err == nil && info.Size() <= mostCompared {
		if b, err := e.Store.ReadBlob(d); err == nil {
			return b, true
		}
	}
	file := filepath.Join(use.Source, filepath.FromSlash(path))
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > mostCompared {
		return nil, false
	}
	b, err := os.ReadFile(file)
	return b, err == nil && manifest.Sum(b) == d
}

// treeDiff compares two folders, file by file.
func (e *Explainer) treeDiff(old, new runner.InputUse) *Diff {
	a, ok1 := e.entries(old)
	b, ok2 := e.entries(new)
	if !ok1 || !ok2 {
		return &Diff{Unit: "file", Note: "the list of its files is not kept"}
	}
	d := &Diff{Unit: "file", Old: len(a), New: len(b)}
	for _, path := range sortedKeys(a, b) {
		x, had := a[path]
		y, has := b[path]
		switch {
		case !had:
			d.Added = append(d.Added, Element{Path: path})
		case !has:
			d.Removed = append(d.Removed, Element{Path: path})
		case x != y:
			c := Changed{Old: Element{Path: path}, New: Element{Path: path}}
			if x.Digest != y.Digest {
				c.Diff = e.fileDiff(old, new, x.Digest, y.Digest, path)
			}
			d.Changed = append(d.Changed, c)
		}
	}
	return d
}

func (e *Explainer) entries(use runner.InputUse) (map[string]manifest.Entry, bool) {
	list, err := e.Store.ReadTree(use.Content.Digest)
	if err != nil {
		pin, err := e.Store.PinPath(context.Background(), use.Source, use.Files)
		if err != nil || pin.Object.Digest != use.Content.Digest {
			return nil, false
		}
		list = pin.Entries()
	}
	entries := make(map[string]manifest.Entry, len(list))
	for _, f := range list {
		entries[f.Path] = f
	}
	return entries, true
}

// diffBytes compares two files by records if they are JSON Lines, else by lines if
// they are text.
func diffBytes(a, b []byte) *Diff {
	switch {
	case isRecords(a) && isRecords(b):
		return diffRecords(a, b)
	case isText(a) && isText(b):
		return diffLines(splitLines(a), splitLines(b), "line")
	}
	return &Diff{Note: fmt.Sprintf("it holds %d bytes that are no text, and held %d", len(b), len(a))}
}

func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

func splitLines(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// diffLines compares lists of texts.
func diffLines(old, new []string, unit string) *Diff {
	d := &Diff{Unit: unit, Old: len(old), New: len(new)}
	m := match(old, new)
	d.Reordered = m.reordered
	element := func(list []string, i int) Element { return Element{Line: i + 1, Text: list[i]} }
	// An item of a short list that is replaced is the same item, whatever it says.
	for _, p := range m.neighbours(func(i, j int) bool { return unit == "item" || alike(old[i], new[j]) }) {
		d.Changed = append(d.Changed, Changed{Old: element(old, p.old), New: element(new, p.new)})
	}
	for _, i := range m.oldLeft {
		d.Removed = append(d.Removed, element(old, i))
	}
	for _, j := range m.newLeft {
		d.Added = append(d.Added, element(new, j))
	}
	return d
}
