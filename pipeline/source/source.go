// Package source knows where inputs come from that no stage makes: paths of the
// workspace and builtin: folders that the binary carries.
//
// Pinning finds an input's content without fetching it; a key needs no more. Only
// a stage that misses has its inputs fetched.
package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"pipe/cache"
	"pipe/internal/document"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// Sources resolves references. Builtin maps a name to a folder in the binary.
type Sources struct {
	Builtin map[string]fs.FS
}

// Pin is an input's content as it was found.
type Pin struct {
	Object    cache.Object
	Reference string // of builtin: sources, as written
	// Digest is what the content is called outside the store: 64 hex digits.
	Digest string

	path    *cache.Pin // of a workspace path
	builtin fs.FS
	files   []manifest.Entry
	linked  bool // only chosen files of a folder
}

// Error is a reference that cannot be used, with what would be right.
type Error struct{ Message, Hint string }

func (e *Error) Error() string { return e.Message }

// Check says whether a reference could be pinned, without reading content. The
// error is an *Error, or the system's.
func (s Sources) Check(ref string) error {
	scheme, name, ok := strings.Cut(ref, ":")
	if !ok || !isScheme(scheme) {
		return checkPath(ref)
	}
	switch scheme {
	case "builtin":
		if s.Builtin[name] != nil {
			return nil
		}
		names := make([]string, 0, len(s.Builtin))
		for n := range s.Builtin {
			names = append(names, n)
		}
		return &Error{fmt.Sprintf("there is no builtin: source %q", name), document.Suggest(name, names)}
	case "hf":
		model, _, _ := strings.Cut(name, "@")
		return &Error{fmt.Sprintf("%s: hf: sources cannot be fetched by this version of pipe", ref),
			fmt.Sprintf("download it once, for example with: git clone https://huggingface.co/%s (git-lfs installed), and pass the folder instead: --set params.NAME=./%s",
				model, path.Base(model))}
	}
	return &Error{fmt.Sprintf("%s: sources of kind %q are not known to this version of pipe", ref, scheme+":"), "known are paths and builtin:"}
}

func isScheme(s string) bool { return len(s) > 1 && !strings.ContainsAny(s, `/\. `) }

func checkPath(p string) error {
	info, err := faultfs.Stat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Error{fmt.Sprintf("there is no file or folder %s", p), "paths are relative to the pipeline file, those of --set to the working directory"}
	case err != nil:
		return err
	case !info.IsDir() && !info.Mode().IsRegular():
		return &Error{fmt.Sprintf("%s is neither a file nor a folder", p), ""}
	}
	return nil
}

// matches says whether a path in a folder is one that the patterns choose.
func matches(patterns []string, rel string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, rel); ok {
			return true
		}
	}
	return len(patterns) == 0
}

// Pin finds the content of a reference. Of a folder only the files at its top that
// match a pattern are looked at; no patterns are everything. With withReference the reference of
// a builtin: source is part of the pin.
func (s Sources) Pin(ctx context.Context, store *cache.Store, ref string, patterns []string, withReference bool) (Pin, error) {
	if err := s.Check(ref); err != nil {
		return Pin{}, err
	}
	if name, ok := strings.CutPrefix(ref, "builtin:"); ok {
		pin, err := pinFS(s.Builtin[name], patterns)
		if withReference {
			pin.Reference = ref
		}
		return pin, err
	}
	p, err := store.PinPath(ctx, ref, patterns)
	if err != nil {
		return Pin{}, err
	}
	if p.Object.Kind == cache.Tree && len(patterns) > 0 && len(p.Entries()) == 0 {
		return Pin{}, &Error{fmt.Sprintf("folder %s has none of the files %s", ref, strings.Join(patterns, ", ")), ""}
	}
	return Pin{Object: p.Object, Digest: p.Object.Digest.String(), path: &p, files: p.Entries(), linked: p.Object.Kind == cache.Tree && len(patterns) > 0}, nil
}

func pinFS(folder fs.FS, patterns []string) (Pin, error) {
	pin := Pin{builtin: folder, Object: cache.Object{Kind: cache.Tree}}
	err := fs.WalkDir(folder, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !matches(patterns, name) {
			return err
		}
		f, err := folder.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		size, err := io.Copy(h, f)
		pin.files = append(pin.files, manifest.Entry{Path: name, Mode: '-', Digest: manifest.Digest(h.Sum(nil)), Size: size})
		pin.Object.Size += size
		return err
	})
	pin.Object.Digest = manifest.Sum(manifest.Encode(pin.files))
	pin.Digest = pin.Object.Digest.String()
	return pin, err
}

// Fetch puts the content where a stage can read it: at dst, which must not exist.
// What lies in the workspace is linked to, never handed over itself: a stage that
// moves its input away moves the link.
func (p Pin) Fetch(dst string) error {
	if p.builtin != nil {
		return os.CopyFS(dst, chosen{p.builtin, p.files})
	}
	root, err := filepath.Abs(p.path.Path)
	if err != nil {
		return err
	}
	if !p.linked {
		return faultfs.Symlink(root, dst)
	}
	if err := faultfs.Mkdir(dst, 0o777); err != nil {
		return err
	}
	for _, f := range p.files {
		target := filepath.Join(dst, filepath.FromSlash(f.Path))
		if err := faultfs.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			return err
		}
		if err := faultfs.Symlink(filepath.Join(root, filepath.FromSlash(f.Path)), target); err != nil {
			return err
		}
	}
	return nil
}

// Keep stores the content of a workspace source of at most so many bytes, so that it
// can be compared with later. It does nothing for other sources.
func (p Pin) Keep(ctx context.Context, store *cache.Store, most int64) error {
	if p.path == nil || p.Object.Size > most {
		return nil
	}
	return store.Keep(ctx, *p.path)
}

// chosen is the part of a file system that was pinned.
type chosen struct {
	fs.FS
	files []manifest.Entry
}

func (c chosen) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(c.FS, name)
	var out []fs.DirEntry
	for _, e := range entries {
		for _, f := range c.files {
			if p := path.Join(name, e.Name()); f.Path == p || strings.HasPrefix(f.Path, p+"/") {
				out = append(out, e)
				break
			}
		}
	}
	return out, err
}

// Look puts the content of a source where it can be read and returns the path:
// a workspace path is its own, of a builtin: source the files that match a pattern
// are written below dst, which must not exist.
func (s Sources) Look(ref string, patterns []string, dst string) (string, error) {
	if err := s.Check(ref); err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(ref, "builtin:")
	if !ok {
		return ref, nil
	}
	var files []manifest.Entry
	err := fs.WalkDir(s.Builtin[name], ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && matches(patterns, name) {
			files = append(files, manifest.Entry{Path: name})
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return dst, os.CopyFS(dst, chosen{s.Builtin[name], files})
}

// Changed looks at a workspace source again and returns the path of a file whose
// content is no longer what was pinned, or "".
func (p Pin) Changed(ctx context.Context, store *cache.Store) (string, error) {
	if p.path == nil {
		return "", nil
	}
	return store.Changed(ctx, *p.path)
}
