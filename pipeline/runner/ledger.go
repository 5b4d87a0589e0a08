package runner

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pipe/internal/atomicfile"
	"pipe/internal/faultfs"
	"pipe/internal/manifest"
)

// What may be decided about an output: words of ledgers and of publish events.
const (
	wasPublished  = "published"
	wasUnchanged  = "unchanged"   // it is there already; no line in the ledger
	wasRestored   = "restored"    // it was there and somebody had changed it
	wasWithheld   = "withheld"    // its stage keeps it back; no line in the ledger
	wasKept       = "kept"        // what is there stays: it is better, or was rolled back to
	wasRefused    = "refused"     // it belongs to another base; no line in the ledger
	wasRolledBack = "rolled back" // an earlier version was put back
	hasFailed     = "failed"      // no line in the ledger
)

// terms are what two scores must share to be compared.
type terms struct {
	Base     string `json:"base,omitempty"`
	Suite    string `json:"suite,omitempty"`
	Template string `json:"template,omitempty"`
	// Judge names the kind, version and parameters that gave the score; "" in a
	// ledger that does not say.
	Judge string `json:"judge,omitempty"`
}

// ledgerEntry is a line of a ledger. Lines of older ledgers have no terms, no score
// and no reason.
type ledgerEntry struct {
	Time   time.Time `json:"time"`
	Digest string    `json:"digest"`
	Key    string    `json:"key,omitempty"`
	Run    string    `json:"run,omitempty"`
	terms
	Score    *float64 `json:"score,omitempty"` // nil is unknown; then so are the terms
	Decision string   `json:"decision"`
	Previous string   `json:"previous,omitempty"` // what the link named before
	Why      string   `json:"why,omitempty"`
}

// parseLedger reads a ledger. Lines that cannot be read, such as one that was cut
// short or damaged, are passed over.
func parseLedger(b []byte) []ledgerEntry {
	var entries []ledgerEntry
	for line := range bytes.Lines(b) {
		var e ledgerEntry
		if !sumHolds(bytes.TrimSuffix(line, []byte("\n"))) || json.Unmarshal(line, &e) != nil {
			continue
		}
		if _, err := manifest.ParseDigest(e.Digest); err == nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// A line ends with a sum, the first bytes of the SHA-256 of all before it: a score that
// a failing disk has changed must not decide. Lines of older ledgers have none.
const (
	sumBytes = 8
	sumField = `,"sum":"`
	sumEnd   = `"}`
)

// withSum returns a line, a JSON object, with its sum.
func withSum(line []byte) []byte {
	body := line[:len(line)-1]
	return fmt.Appendf(nil, "%s%s%x%s", body, sumField, sumOf(body), sumEnd)
}

func sumOf(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:sumBytes]
}

// sumHolds says whether a line is as it was written, if it has a sum.
func sumHolds(line []byte) bool {
	at := len(line) - len(sumField) - 2*sumBytes - len(sumEnd)
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(sumField)) {
		return true
	}
	sum := line[at+len(sumField) : len(line)-len(sumEnd)]
	return string(sum) == hex.EncodeToString(sumOf(line[:at]))
}

// appendLedger adds a line to the ledger at path, below one that was cut short.
func appendLedger(path string, e ledgerEntry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = withSum(line)
	f, err := faultfs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	last := []byte("\n")
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		_, _ = f.ReadAt(last, info.Size()-1) // unread, it counts as ended
	}
	if last[0] != '\n' {
		line = append([]byte("\n"), line...)
	}
	_, err = f.Write(append(line, '\n'))
	if err := atomicfile.CloseSynced(f, err); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// shelf is what the ledger says of a place.
type shelf struct {
	// order lists the versions that were published and not rolled back, the newest
	// last, each once.
	order []string
	// put has, by version, the newest line that put it there and knows its score;
	// where none does, the newest.
	put map[string]ledgerEntry
	// out has, by version, the line that rolled it back: until another is published
	// it stays out.
	out map[string]ledgerEntry
	// kept are the decisions against a candidate since the last publication.
	kept []ledgerEntry
}

func newShelf(entries []ledgerEntry) *shelf {
	s := &shelf{put: map[string]ledgerEntry{}, out: map[string]ledgerEntry{}}
	for _, e := range entries {
		s.add(e)
	}
	return s
}

func (s *shelf) add(e ledgerEntry) {
	at := slices.Index(s.order, e.Digest)
	switch e.Decision {
	case wasKept:
		s.kept = append(s.kept, e)
		return
	case wasRolledBack:
		for _, d := range s.order[at+1:] {
			s.out[d] = e
		}
		s.order = s.order[:at+1]
		if at < 0 {
			s.order = append(s.order, e.Digest)
		}
	case wasPublished:
		if at >= 0 {
			s.order = slices.Delete(s.order, at, at+1)
		}
		s.order = append(s.order, e.Digest)
		s.out, s.kept = map[string]ledgerEntry{}, nil
	case wasRestored:
		if at < 0 {
			s.order = append(s.order, e.Digest)
		}
	default:
		return
	}
	delete(s.out, e.Digest)
	if e.Score != nil || s.put[e.Digest].Score == nil {
		s.put[e.Digest] = e
	}
}

// newest is the version that the ledger says is published, or "".
func (s *shelf) newest() string {
	if len(s.order) == 0 {
		return ""
	}
	return s.order[len(s.order)-1]
}

// keptBefore says whether the same decision was made before: the same candidate
// against the same version on the same terms.
func (s *shelf) keptBefore(e ledgerEntry) bool {
	return slices.ContainsFunc(s.kept, func(k ledgerEntry) bool {
		return k.Digest == e.Digest && k.Previous == e.Previous && k.terms == e.terms
	})
}

// repair returns the line that the ledger lacks if the process that moved the link
// to a version died before it could write it: readers see what the link says. A
// version from further down was rolled back to, unless it is the candidate of this
// run ("" if there is none).
func (s *shelf) repair(linked, candidate string) (ledgerEntry, bool) {
	if linked == "" || linked == s.newest() {
		return ledgerEntry{}, false
	}
	e := ledgerEntry{Digest: linked, Decision: wasPublished, Previous: s.newest(), Why: "found at its place: who put it there was cut short"}
	if slices.Contains(s.order, linked) && linked != candidate {
		e.Decision = wasRolledBack
		before := s.put[linked]
		e.Key, e.terms, e.Score = before.Key, before.terms, before.Score
	}
	return e, true
}

// Publication is how something came to a published place.
type Publication struct {
	Digest string
	Key    string // of the record that made it; "" if that is not known
	Run    string // that published it
	Time   time.Time
}

// PublicationOf tells how a version came to a place; only its digest is known of what
// was never published there.
func PublicationOf(to, digest string) Publication {
	p := Publication{Digest: digest}
	b, err := faultfs.ReadFile(place{to: filepath.Clean(to)}.ledger())
	if err != nil {
		return p
	}
	return publicationOf(parseLedger(b), digest)
}

// LastPublication tells how what is published came to its place, by the ledger at path.
func LastPublication(path string) (Publication, bool) {
	b, err := faultfs.ReadFile(path)
	if err != nil {
		return Publication{}, false
	}
	entries := parseLedger(b)
	order := newShelf(entries).order
	if len(order) == 0 {
		return Publication{}, false
	}
	return publicationOf(entries, order[len(order)-1]), true
}

func publicationOf(entries []ledgerEntry, digest string) Publication {
	p := Publication{Digest: digest}
	for _, e := range slices.Backward(entries) {
		if e.Digest == digest && e.Decision == wasPublished {
			p.Key, p.Run, p.Time = e.Key, e.Run, e.Time
			break
		}
	}
	return p
}
