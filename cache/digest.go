package cache

import (
	"crypto/sha256"
	"encoding/hex"

	"pipe/internal/manifest"
)

// Digest is the SHA-256 of a blob or of a tree's manifest.
type Digest = manifest.Digest

// Key names an action: all that decides what a stage makes. It is a type of its
// own so that it cannot be taken for the digest of a blob.
type Key [sha256.Size]byte

func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Short is enough of the key to tell actions apart on a screen.
func (k Key) Short() string { return k.String()[:12] }

func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k *Key) UnmarshalText(text []byte) error { return (*manifest.Digest)(k).UnmarshalText(text) }
