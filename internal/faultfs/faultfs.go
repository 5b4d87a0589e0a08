package faultfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

func Stat(name string) (fs.FileInfo, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: StatOp, Path: name}, func() (fs.FileInfo, error) { return os.Stat(name) })
	}
	return os.Stat(name)
}

func Lstat(name string) (fs.FileInfo, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: StatOp, Path: name}, func() (fs.FileInfo, error) { return os.Lstat(name) })
	}
	return os.Lstat(name)
}

func ReadDir(name string) ([]fs.DirEntry, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: ReadDirOp, Path: name}, func() ([]fs.DirEntry, error) { return os.ReadDir(name) })
	}
	return os.ReadDir(name)
}

func ReadFile(name string) ([]byte, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: ReadOp, Path: name}, func() ([]byte, error) { return os.ReadFile(name) })
	}
	return os.ReadFile(name)
}

// ReadSmall is ReadFile for the small files of which a run reads thousands.
func ReadSmall(name string) ([]byte, error) {
	if current.Load() != nil {
		return ReadFile(name)
	}
	return readSmall(name)
}

func Readlink(name string) (string, error) {
	if h := current.Load(); h != nil {
		return get(h, &Op{Kind: ReadlinkOp, Path: name}, func() (string, error) { return os.Readlink(name) })
	}
	return os.Readlink(name)
}

func Mkdir(name string, perm fs.FileMode) error {
	return Do(MkdirOp, name, "", func() error { return os.Mkdir(name, perm) })
}

func Remove(name string) error {
	return Do(RemoveOp, name, "", func() error { return os.Remove(name) })
}

func Rename(from, to string) error {
	return Do(RenameOp, from, to, func() error { return os.Rename(from, to) })
}

func Link(from, to string) error {
	return Do(LinkOp, from, to, func() error { return os.Link(from, to) })
}

func Symlink(says, name string) error {
	return Do(SymlinkOp, says, name, func() error { return os.Symlink(says, name) })
}

func Chmod(name string, mode fs.FileMode) error {
	return Do(ChmodOp, name, "", func() error { return os.Chmod(name, mode) })
}

// MkdirAll makes the folder at path and those above it that are not there.
func MkdirAll(path string, perm fs.FileMode) error {
	if current.Load() == nil {
		return os.MkdirAll(path, perm)
	}
	info, err := Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: string(MkdirOp), Path: path, Err: errors.New("it is a file")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if above := filepath.Dir(path); above != path {
		if err := MkdirAll(above, perm); err != nil {
			return err
		}
	}
	if err := Mkdir(path, perm); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// RemoveAll removes what is at path, with all that is in it.
func RemoveAll(path string) error {
	if current.Load() == nil {
		return os.RemoveAll(path)
	}
	info, err := Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		var entries []fs.DirEntry
		entries, err = ReadDir(path)
		for _, e := range entries {
			err = errors.Join(err, RemoveAll(filepath.Join(path, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return Remove(path)
}

// MkdirTemp makes a folder of a new name in dir: prefix and random digits.
func MkdirTemp(dir, prefix string) (string, error) {
	for {
		name := filepath.Join(dir, fmt.Sprintf("%s%016x", prefix, rand.Uint64()))
		if err := Mkdir(name, 0o700); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
}

// CreateTemp makes a file of a new name in dir: prefix and random digits. Unlike
// os.CreateTemp it takes a mode, before the umask.
func CreateTemp(dir, prefix string, mode fs.FileMode) (*File, error) {
	for {
		name := filepath.Join(dir, fmt.Sprintf("%s%016x", prefix, rand.Uint64()))
		f, err := OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

func WriteFile(name string, data []byte, perm fs.FileMode) error {
	f, err := OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
