package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
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
	if len(s) == 2*len(d) && strings.IndexFunc(s, isUpper) < 0 {
		if _, err := hex.Decode(d[:], []byte(s)); err == nil {
			return d, nil
		}
	}
	return Digest{}, fmt.Errorf("digest must be %d lower-case hex digits, got %q", 2*len(d), s)
}

func isUpper(r rune) bool { return 'A' <= r && r <= 'Z' }

// MarshalText and UnmarshalText give digests their hex form in JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}
