package cache

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxDecoded caps what a compressed blob may hold: logs and histories are far
// smaller, and 32 KiB can decode to 1 GiB.
const maxDecoded = 1 << 30

// A coder's tables cost more than most of what it is given: a megabyte to be cleared for
// a pre-image of a hundred bytes. So there is one of each, and several goroutines may use it.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoded))
	})
)

// Compress returns a zstd frame with checksum that is known to decode to b.
func Compress(b []byte) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, err
	}
	frame := enc.EncodeAll(b, nil)
	back, err := Decompress(frame)
	if err != nil || !bytes.Equal(back, b) {
		return nil, fmt.Errorf("zstd does not decode what it encoded (%v)", err)
	}
	return frame, nil
}

// Decompress decodes a frame, up to 1 GiB.
func Decompress(frame []byte) ([]byte, error) {
	if len(frame) == 0 {
		return nil, errors.New("zstd: empty frame")
	}
	dec, err := decoder()
	if err != nil {
		return nil, err
	}
	return dec.DecodeAll(frame, nil)
}
