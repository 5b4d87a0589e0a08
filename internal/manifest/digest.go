package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest is the SHA-256 of a blob or of a tree's manifest.
type Digest [sha256.Size]byte

// Sum returns the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short is enough of the digest to tell objects apart on a screen.
func (d Digest) Short() string { return d.String()[:12] }

// ParseDigest reads 64 lower-case hex digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	err := d.UnmarshalText([]byte(s))
	return d, err
}

// MarshalText and UnmarshalText give digests their hex form in JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Digest) UnmarshalText(text []byte) error {
	var parsed Digest
	if len(text) == 2*len(d) && bytes.IndexFunc(text, isUpper) < 0 {
		if _, err := hex.Decode(parsed[:], text); err == nil {
			*d = parsed
			return nil
		}
	}
	return fmt.Errorf("digest must be %d lower-case hex digits, got %q", 2*len(d), text)
}

func isUpper(r rune) bool { return 'A' <= r && r <= 'Z' }
