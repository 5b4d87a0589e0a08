// Package manifest lists folders in one canonical form, so that equal folders have
// equal digests. Source of the form: docs/cache-format.md, "Tree".
package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pipe/internal/faultfs"
)

// Entry is one line of a tree's manifest.
type Entry struct {
	Path   string // relative, separated by /
	Mode   byte   // '-' file, 'x' executable file, 'd' empty folder
	Digest Digest
	Size   int64
}

const magic = "pipe tree 1\n"

// Encode returns the manifest of entries, which are sorted in place.
func Encode(entries []Entry) []byte {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	size := len(magic)
	for _, e := range entries {
		size += len(e.Path) + 90
	}
	b := append(make([]byte, 0, size), magic...)
	for _, e := range entries {
		b = append(b, e.Mode, ' ')
		if e.Mode != 'd' {
			b = append(hex.AppendEncode(b, e.Digest[:]), ' ')
			b = append(strconv.AppendInt(b, e.Size, 10), ' ')
		}
		name := e.Path
		if strings.ContainsAny(name, "\\\n\r") {
			name = pathEscaper.Replace(name)
		}
		b = append(append(b, name...), '\n')
	}
	return b
}

var pathEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)

// Parse reads a manifest. It accepts the one form that Encode writes and
// nothing that could leave the folder it is restored to.
func Parse(manifest []byte) ([]Entry, error) {
	rest, ok := bytes.CutPrefix(manifest, []byte(magic))
	if !ok {
		return nil, errors.New("tree manifest: no header")
	}
	var entries []Entry
	for number := 2; len(rest) > 0; number++ {
		line, tail, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("tree manifest: line %d is cut short", number)
		}
		e, err := parseLine(string(line))
		if err != nil {
			return nil, fmt.Errorf("tree manifest: line %d: %w", number, err)
		}
		if n := len(entries); n > 0 && entries[n-1].Path >= e.Path {
			return nil, fmt.Errorf("tree manifest: line %d: %q is out of order", number, e.Path)
		}
		entries, rest = append(entries, e), tail
	}
	return entries, checkFolders(entries)
}

func parseLine(line string) (Entry, error) {
	if len(line) < 3 || line[1] != ' ' || !strings.Contains("-xd", line[:1]) {
		return Entry{}, fmt.Errorf("unknown entry %q", line)
	}
	e := Entry{Mode: line[0]}
	name := line[2:]
	if e.Mode != 'd' {
		fields := strings.SplitN(name, " ", 3)
		if len(fields) != 3 {
			return e, fmt.Errorf("want digest, size and path, got %q", name)
		}
		var err error
		if e.Digest, err = ParseDigest(fields[0]); err != nil {
			return e, err
		}
		if e.Size, err = strconv.ParseInt(fields[1], 10, 64); err != nil || e.Size < 0 || strconv.FormatInt(e.Size, 10) != fields[1] {
			return e, fmt.Errorf("size %q", fields[1])
		}
		name = fields[2]
	}
	e.Path = pathUnescaper.Replace(name)
	if pathEscaper.Replace(e.Path) != name || !fs.ValidPath(e.Path) || e.Path == "." || strings.ContainsRune(e.Path, 0) {
		return e, fmt.Errorf("path %q", name)
	}
	return e, nil
}

var pathUnescaper = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")

// checkFolders refuses a file, or an empty folder, that another entry lies in.
func checkFolders(entries []Entry) error {
	names := make(map[string]bool, len(entries))
	for _, e := range entries {
		names[e.Path] = true
	}
	for _, e := range entries {
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			if names[dir] {
				return fmt.Errorf("tree manifest: %q lies in %q, which is no folder of files", e.Path, dir)
			}
		}
	}
	return nil
}

// Walk visits the files and empty folders below root, in no promised order.
func Walk(root string, visit func(rel string, mode byte) error) error {
	return List(root, func(p, rel string, folder bool) error {
		if folder {
			return visit(rel, 'd')
		}
		return visitFile(p, rel, visit)
	})
}

// List is Walk by name alone: what is no folder may be no file either, which Mode tells.
// path is the file's own, root included.
func List(root string, visit func(path, rel string, folder bool) error) error {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	return list(root, "", visit)
}

// list reads each folder once.
func list(dir, rel string, visit func(path, rel string, folder bool) error) error {
	entries, err := faultfs.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 && rel != "" {
		return visit(dir, rel, true)
	}
	for _, e := range entries {
		name := e.Name()
		path := dir + string(filepath.Separator) + name
		if !fs.ValidPath(name) || strings.ContainsRune(name, 0) {
			return fmt.Errorf("%q: a file's name must be UTF-8", path)
		}
		if rel != "" {
			name = rel + "/" + name
		}
		if e.IsDir() {
			err = list(path, name, visit)
		} else {
			err = visit(path, name, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// WalkTop visits the files of root itself whose names match a pattern.
func WalkTop(root string, patterns []string, visit func(rel string, mode byte) error) error {
	entries, err := faultfs.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		matches := func(pattern string) bool { ok, _ := path.Match(pattern, e.Name()); return ok }
		if e.IsDir() || !slices.ContainsFunc(patterns, matches) {
			continue
		}
		if !fs.ValidPath(e.Name()) {
			return fmt.Errorf("%q in %s: a file's name must be UTF-8", e.Name(), root)
		}
		if err := visitFile(filepath.Join(root, e.Name()), e.Name(), visit); err != nil {
			return err
		}
	}
	return nil
}

func visitFile(p, rel string, visit func(rel string, mode byte) error) error {
	info, err := faultfs.Stat(p) // follows a link
	if err != nil {
		return err
	}
	mode, err := Mode(p, info)
	if err != nil {
		return err
	}
	return visit(rel, mode)
}

// Mode is the mode of an entry for the file at a path, of which info was told. It is an
// error if it is no file.
func Mode(path string, info fs.FileInfo) (byte, error) {
	switch {
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s is neither a file, nor a folder, nor a link to a file", path)
	case info.Mode()&0o111 != 0:
		return 'x', nil
	}
	return '-', nil
}

// Folder returns the digest of the folder at root, as the store would name it.
func Folder(root string) (Digest, error) {
	var entries []Entry
	err := Walk(root, func(rel string, mode byte) error {
		e := Entry{Path: rel, Mode: mode}
		if mode != 'd' {
			b, err := faultfs.ReadFile(filepath.Join(root, filepath.FromSlash(rel)))
			if err != nil {
				return err
			}
			e.Digest, e.Size = Sum(b), int64(len(b))
		}
		entries = append(entries, e)
		return nil
	})
	return Sum(Encode(entries)), err
}
