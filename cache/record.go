package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Record is what is known of an action that was run: its outputs by content.
type Record struct {
	Key         Key               `json:"key"`
	Kind        string            `json:"kind"`
	Version     string            `json:"version"`
	Outputs     map[string]Object `json:"outputs"`
	Withheld    string            `json:"withheld,omitempty"` // why the outputs must not be published
	Attachments map[string]Object `json:"attachments,omitempty"`
	Log         *Digest           `json:"log,omitempty"`
	Preimage    *Digest           `json:"preimage,omitempty"`
	Made        Made              `json:"made"`
}

// Made says where and how a result was made, for people.
type Made struct {
	Time      time.Time `json:"time"`
	Seconds   float64   `json:"seconds"`
	Pipe      string    `json:"pipe,omitempty"`
	Tier      string    `json:"tier,omitempty"`
	StoppedBy string    `json:"stopped_by,omitempty"`
}

const recordMagic = "pipe action 1 "

// EncodeRecord returns a record's file.
func EncodeRecord(r *Record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	return append(fmt.Appendf(nil, "%s%x\n", recordMagic, sum), body...), nil
}

// ParseRecord reads a record's file.
func ParseRecord(b []byte) (*Record, error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	sum, magic := bytes.CutPrefix(head, []byte(recordMagic))
	if !ok || !magic {
		return nil, errors.New(recordError + "no header")
	}
	var digits [2 * sha256.Size]byte
	got := sha256.Sum256(body)
	if hex.Encode(digits[:], got[:]); !bytes.Equal(digits[:], sum) {
		return nil, errors.New(recordError + "checksum differs")
	}
	if r, ok := parsePlain(body); ok {
		return r, nil
	}
	var r Record
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf(recordError+"%w", err)
	}
	for port, o := range r.Outputs {
		if o.Kind != File && o.Kind != Tree || o.Size < 0 {
			return nil, fmt.Errorf(recordError+"output %q is %q of %d bytes", port, o.Kind, o.Size)
		}
	}
	return &r, nil
}

// recordError begins what is said of bytes that are no record.
const recordError = "action record: "
