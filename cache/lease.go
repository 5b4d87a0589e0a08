package cache

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"pipe/internal/faultfs"
)

// A lease keeps a collection away from what a living process uses. It is a file,
// locked by its process, to which the process adds the name of each record before it
// looks it up and of each blob before it puts it. Who adds shares the gate, who
// removes has it alone: so what a lease names is there for as long as the lease is,
// or was gone before the process looked.
const (
	leasesName  = "leases"  // folder in locks/
	gateOfLease = "sweep"   // in locks/
	collectName = "collect" // in locks/, held by the one collection there is
)

// The first words of a lease's lines.
const (
	leasedRecord = "record"
	leasedBlob   = "blob"
)

// leased is what a line of a lease names.
type leased struct {
	what string
	name [32]byte
}

// lease is the one of this store; it is empty unless Hold was called.
type lease struct {
	mu     sync.Mutex // guards what follows
	users  int
	file   *faultfs.File
	gate   *faultfs.File
	unlock func()
	named  map[leased]bool
	line   []byte // the last one
	ended  string // what ends a line that may have been cut short
}

// Hold protects what this store looks up and puts from collections, also those of
// other processes, until release is called. Without it, or where the file system has
// no locks, a collection may take what a process is about to use; that is found to be
// missing, and made again.
func (s *Store) Hold() (release func(), err error) {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == 0 {
		if err := l.open(filepath.Join(s.dir, "locks")); err != nil {
			return nil, err
		}
	}
	l.users++
	return sync.OnceFunc(s.release), nil
}

func (l *lease) open(locks string) error {
	dir := filepath.Join(locks, leasesName)
	if err := faultfs.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	gate, err := faultfs.OpenFile(filepath.Join(locks, gateOfLease), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	// A collection may take the new file for a dead one's, until it is locked.
	const tries = 10
	for range tries {
		name := filepath.Join(dir, fmt.Sprintf("lease-%016x", rand.Uint64()))
		unlock, ok, lockErr := lockFile(name, false, "")
		if lockErr != nil || !ok {
			err = lockErr
			continue
		}
		file, openErr := faultfs.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
		if openErr != nil {
			unlock()
			err = openErr
			break
		}
		l.file, l.gate, l.unlock, l.named, l.ended = file, gate, unlock, map[leased]bool{}, ""
		return nil
	}
	gate.Close()
	if err == nil {
		err = errors.New("the lease cannot be locked")
	}
	return err
}

// release ends the lease. While a collection is under way its file stays: the
// collection looked at the store before it was written.
func (s *Store) release() {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users > 0 {
		return
	}
	if done, ok, err := lockFile(filepath.Join(s.dir, "locks", collectName), false, ""); err == nil && ok {
		faultfs.Remove(l.file.Name())
		done()
	}
	l.unlock()
	l.file.Close()
	l.gate.Close()
	l.file, l.gate, l.unlock, l.named = nil, nil, nil, nil
}

// using notes that this process is about to use what has a name. It must be called
// before the process looks whether that is there.
func (s *Store) using(what string, name [32]byte) {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	it := leased{what, name}
	if l.users == 0 || l.named[it] {
		return
	}
	if lockShared(l.gate) != nil {
		return // it is tried again when the object is next used
	}
	defer unlockFile(l.gate)
	// On a full disk the object is not protected, and made again if need be.
	l.line = append(append(append(l.line[:0], l.ended...), what...), ' ')
	l.line = append(hex.AppendEncode(l.line, name[:]), '\n')
	if _, err := l.file.Write(l.line); err != nil {
		l.ended = "\n"
		return
	}
	l.ended, l.named[it] = "", true
}

// leases are those that a collection has to mind.
type leases struct {
	dir     string
	read    map[string]int64 // how far each was read
	records map[Key]bool
	blobs   map[Digest]bool
}

func (s *Store) openLeases() *leases {
	return &leases{dir: filepath.Join(s.dir, "locks", leasesName), read: map[string]int64{}, records: map[Key]bool{}, blobs: map[Digest]bool{}}
}

// dropDead removes the leases that no living process has. What they protected is
// named by records by now, or by nothing.
func (l *leases) dropDead() {
	files, _ := faultfs.ReadDir(l.dir)
	for _, f := range files {
		if unlock, ok, err := lockFile(filepath.Join(l.dir, f.Name()), true, ""); err == nil && ok {
			unlock()
		}
	}
}

// look reads what was added since it last looked. Leases that have ended meanwhile
// still count.
func (l *leases) look() error {
	files, err := faultfs.ReadDir(l.dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := l.readMore(f.Name()); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func (l *leases) readMore(name string) error {
	f, err := faultfs.Open(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(l.read[name], 0); err != nil {
		return err
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil // the rest of a line that is cut short protects nothing
		}
		l.read[name] += int64(len(line))
		what, text, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		var d Digest
		if d.UnmarshalText(text) != nil {
			continue
		}
		switch string(what) {
		case leasedRecord:
			l.records[Key(d)] = true
		case leasedBlob:
			l.blobs[d] = true
		}
	}
}
