package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"strings"
	"sync"
	"time"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
)

// statIndex remembers the digests of files by inode, so that a file that was not
// touched is not read again.
type statIndex struct {
	path string
	boot string
	// racy applies git's racy rule. Store objects do without: they are stamped
	// when nobody but the store has written them.
	racy bool
	now  func() time.Time

	// What was read stays as it was read: a table of 100,000 entries is looked up in
	// without being taken apart first. Both are as they were when the index was opened.
	known []byte
	slots []uint32 // a hash table of numbers of entries in known, from 1

	mu      sync.RWMutex        // guards what follows
	fresh   map[inode]statEntry // what was put since
	changed bool
}

// inode names a file; fileStamp tells whether it changed.
type inode struct{ device, number uint64 }

type fileStamp struct {
	size         int64
	mtime, ctime int64 // ns
}

type statEntry struct {
	stamp  fileStamp
	hashed int64 // when, ns
	digest Digest
}

const statMagic = "pipe stat 1\n"

// racyFine and racyCoarse are how much older than its hashing a file must be. The kernel stamps files
// with a clock that ticks every 1 to 10 ms; file systems without nanoseconds
// tick every 1 or 2 s (FAT).
const (
	racyFine   = 50 * time.Millisecond
	racyCoarse = 2 * time.Second
)

func (e statEntry) trusted() bool {
	newest := max(e.stamp.mtime, e.stamp.ctime)
	guard := racyFine
	if e.stamp.mtime%int64(time.Second) == 0 {
		guard = racyCoarse
	}
	return newest < e.hashed-int64(guard)
}

// openStatIndex reads an index. One that is absent, damaged or of another boot is
// empty.
func openStatIndex(path, boot string, racy bool) *statIndex {
	x := &statIndex{path: path, boot: boot, racy: racy, now: time.Now, fresh: map[inode]statEntry{}}
	if b, err := faultfs.ReadFile(path); err == nil {
		x.decode(b)
	}
	return x
}

// lookup returns the digest of the file at path, if it is known.
func (x *statIndex) lookup(path string) (Digest, bool) {
	id, stamp, err := statFile(path)
	if err != nil {
		return Digest{}, false
	}
	e, ok := x.get(id)
	return e.digest, ok && e.stamp == stamp && (!x.racy || e.trusted())
}

// changedFrom says whether a file, of which info was told, is not as it was when its digest
// was put. A file that was never put did not change.
func (x *statIndex) changedFrom(info os.FileInfo) bool {
	id, stamp, err := stampOf(info)
	if err != nil {
		return true
	}
	e, ok := x.get(id)
	return ok && e.stamp != stamp
}

// relink calls act, which adds or removes a name of the file at path and changes
// nothing else. A change of names moves the file's change time; what was known of
// the file is known of it afterwards.
func (x *statIndex) relink(path string, act func() error) error {
	digest, known := x.lookup(path)
	_, before, _ := statFile(path)
	if err := act(); err != nil || !known {
		return err
	}
	id, after, err := statFile(path)
	if err == nil && after.size == before.size && after.mtime == before.mtime {
		x.add(id, after, x.now().UnixNano(), digest)
	}
	return nil
}

// put remembers that the file at path, hashed just now, has a digest.
func (x *statIndex) put(path string, d Digest) {
	hashed := x.now().UnixNano()
	id, stamp, err := statFile(path)
	if err != nil {
		return
	}
	x.add(id, stamp, hashed, d)
}

func (x *statIndex) add(id inode, stamp fileStamp, hashed int64, d Digest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fresh[id] = statEntry{stamp: stamp, hashed: hashed, digest: d}
	x.changed = true
}

// get returns what is known of a file, trusted or not.
func (x *statIndex) get(id inode) (statEntry, bool) {
	x.mu.RLock()
	e, ok := x.fresh[id]
	x.mu.RUnlock()
	if ok || len(x.slots) == 0 {
		return e, ok
	}
	for at := x.slot(id); ; at = (at + 1) % uint64(len(x.slots)) {
		n := x.slots[at]
		if n == 0 {
			return statEntry{}, false
		}
		if other, e := readStatEntry(x.known[(n-1)*entryLen:]); other == id {
			return e, true
		}
	}
}

// slot is where to begin to look for a file. Inodes of a folder are close to each other;
// the factor (Knuth's, 2^64 / the golden ratio) scatters them.
func (x *statIndex) slot(id inode) uint64 {
	return ((id.number ^ id.device<<32) * 0x9e3779b97f4a7c15 >> 20) % uint64(len(x.slots))
}

const (
	bootLen  = 36
	entryLen = 6*8 + sha256.Size
	headLen  = len(statMagic) + bootLen + 8
)

// save writes the index if anything was added.
func (x *statIndex) save() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.changed {
		return nil
	}
	b := make([]byte, 0, headLen+len(x.known)+len(x.fresh)*entryLen+sha256.Size)
	b = append(b, statMagic...)
	boot := make([]byte, bootLen)
	copy(boot, x.boot)
	b = append(b, boot...)
	b = append(b, make([]byte, 8)...) // the count, when it is known
	for rest := x.known; len(rest) > 0; rest = rest[entryLen:] {
		id, _ := readStatEntry(rest)
		if _, newer := x.fresh[id]; !newer {
			b = append(b, rest[:entryLen]...)
		}
	}
	for id, e := range x.fresh {
		for _, v := range []uint64{id.device, id.number, uint64(e.stamp.size), uint64(e.stamp.mtime), uint64(e.stamp.ctime), uint64(e.hashed)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = append(b, e.digest[:]...)
	}
	binary.LittleEndian.PutUint64(b[headLen-8:], uint64((len(b)-headLen)/entryLen))
	sum := sha256.Sum256(b)
	x.changed = false
	return atomicfile.Write(x.path, append(b, sum[:]...), 0o666)
}

func (x *statIndex) decode(b []byte) {
	if len(b) < headLen+sha256.Size {
		return
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) || string(body[:len(statMagic)]) != statMagic {
		return
	}
	boot := strings.TrimRight(string(body[len(statMagic):][:bootLen]), "\x00")
	count := binary.LittleEndian.Uint64(body[headLen-8:])
	rest := body[headLen:]
	if boot != x.boot || uint64(len(rest)) != count*uint64(entryLen) {
		return
	}
	x.read(rest)
}

// read takes entries, one behind the other, as what is known.
func (x *statIndex) read(entries []byte) {
	n := len(entries) / entryLen
	x.known, x.slots = entries, make([]uint32, 2*n+1)
	for i := range n {
		id, _ := readStatEntry(entries[i*entryLen:])
		at := x.slot(id)
		for x.slots[at] != 0 {
			at = (at + 1) % uint64(len(x.slots))
		}
		x.slots[at] = uint32(i + 1)
	}
}

func readStatEntry(b []byte) (inode, statEntry) {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return inode{word(0), word(1)}, statEntry{
		stamp:  fileStamp{size: int64(word(2)), mtime: int64(word(3)), ctime: int64(word(4))},
		hashed: int64(word(5)),
		digest: Digest(b[6*8 : entryLen]),
	}
}

// bootID names this boot of the machine, or is empty where that is not known.
func bootID() string {
	b, err := faultfs.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))[:min(bootLen, len(strings.TrimSpace(string(b))))]
}
