//go:build unix

package faulttest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"pipe/internal/faultfs"
)

// Lab tries cases, one at a time: there is one hook a process.
type Lab struct {
	dir    string
	truths Truths // of editions 1, 2 and 3
	scenes map[string]scene
	tried  int

	journal *Journal
	acked   []int // the length of the journal when the run of an edition had ended
}

// scene is a workspace before the run in which something goes wrong.
type scene struct {
	dir     string
	edition Edition         // that the run is about
	least   int             // editions whose publication, or a later one, must be seen throughout
	reruns  map[string]bool // what an undisturbed run executes, where that is asked for
}

// NewLab prepares a lab in dir. It takes a moment.
func NewLab(dir string) (*Lab, error) {
	l := &Lab{dir: dir, scenes: map[string]scene{}}
	toy := Toy{Dir: filepath.Join(dir, "work")}
	for e := Edition(1); e <= 3; e++ {
		truth, err := Undisturbed(toy, e)
		if err != nil {
			return nil, err
		}
		l.truths = append(l.truths, truth)
		if err := copyTree(toy.Dir, filepath.Join(dir, fmt.Sprintf("scene-%d", e))); err != nil {
			return nil, err
		}
	}
	l.scenes["fresh"] = scene{dir: filepath.Join(dir, "none"), edition: 1}
	l.scenes["edit"] = scene{dir: filepath.Join(dir, "scene-1"), edition: 2, least: 1}
	l.scenes["hit"] = scene{dir: filepath.Join(dir, "scene-1"), edition: 1, least: 1}
	if err := os.Mkdir(l.scenes["fresh"].dir, 0o777); err != nil {
		return nil, err
	}
	return l, l.addDamageScenes()
}

// addDamageScenes adds a workspace with two editions, and one in which a third was
// interrupted when it had saved a state twice.
func (l *Lab) addDamageScenes() error {
	l.scenes["done"] = scene{dir: filepath.Join(l.dir, "scene-2"), edition: 2, least: 2}
	toy := Toy{Dir: filepath.Join(l.dir, "stopped"), StopAfter: 2}
	err := errors.Join(copyTree(l.scenes["done"].dir, toy.Dir), toy.Edit(3))
	if err != nil {
		return err
	}
	if o := toy.Run(); o.Exit != exitInterrupted {
		return fmt.Errorf("not interrupted, but %d: %s", o.Exit, o.said())
	}
	l.scenes["stopped"] = scene{dir: toy.Dir, edition: 3, least: 2}
	again := Toy{Dir: filepath.Join(l.dir, "again")}
	if _, _, err := l.set("stopped", again); err != nil {
		return err
	}
	o := again.Run()
	if o.Exit != 0 {
		return errors.New(o.said())
	}
	l.scenes["stopped"] = scene{dir: toy.Dir, edition: 3, least: 2, reruns: o.Ran}
	return nil
}

// Try tries a case. hit is false if the run was over before anything went wrong. The
// error says what was not as it must be.
func (l *Lab) Try(c Case) (hit bool, err error) {
	l.tried++
	toy := Toy{Dir: filepath.Join(l.dir, fmt.Sprintf("toy-%d", l.tried))}
	defer os.RemoveAll(toy.Dir)
	switch c.Part {
	case "errno":
		return l.tryErrno(c, toy)
	case "kill", "instant":
		return l.tryKill(c, toy)
	case "cut":
		return true, l.tryCut(c, toy)
	case "damage":
		return true, l.tryDamage(c, toy)
	}
	return false, fmt.Errorf("unknown part %q", c.Part)
}

// set copies a scene to a toy.
func (l *Lab) set(name string, toy Toy) (scene, Truths, error) {
	s, ok := l.scenes[name]
	if !ok {
		return s, nil, fmt.Errorf("unknown scene %q", name)
	}
	err := errors.Join(copyTree(s.dir, toy.Dir), toy.Edit(s.edition))
	return s, l.truths[:s.edition], err
}

// kinds are the operations that an undisturbed run of a scene does.
func (l *Lab) kinds(name string) ([]faultfs.Kind, error) {
	l.tried++
	toy := Toy{Dir: filepath.Join(l.dir, fmt.Sprintf("toy-%d", l.tried))}
	defer os.RemoveAll(toy.Dir)
	if _, _, err := l.set(name, toy); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var kinds []faultfs.Kind
	defer faultfs.Set(func(op *faultfs.Op, act func() error) error {
		mu.Lock()
		kinds = append(kinds, op.Kind)
		mu.Unlock()
		return act()
	})()
	if o := toy.Run(); o.Exit != 0 {
		return nil, errors.New(o.said())
	}
	return kinds, nil
}

// copyTree copies a folder with its links, modes and times.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		info, err := e.Info()
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(dst, info.Mode().Perm()|0o700)
		case info.Mode()&fs.ModeSymlink != 0:
			says, err := os.Readlink(path)
			return errors.Join(err, os.Symlink(says, dst))
		}
		b, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(dst, b, info.Mode().Perm()), os.Chtimes(dst, info.ModTime(), info.ModTime()))
	})
}
