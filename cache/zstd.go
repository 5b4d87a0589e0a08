package cache

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxDecoded caps what a compressed blob may hold: logs are kept up to 16 MiB, and
// histories are smaller, while 32 KiB can decode to 1 GiB.
const maxDecoded = 256 << 20

// mostUnsaid is the most that a frame of ours holds without saying how much, in bytes
// (RFC 8878, 3.1.1.1.1: shorter sizes have no form without a segment of their own).
const mostUnsaid = 255

// A coder's tables cost more than most of what it is given: a megabyte to be cleared for
// a pre-image of a hundred bytes. So there is one of each, and several goroutines may use it.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoded), zstd.WithDecodeAllCapLimit(true))
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

// Decompress decodes what Compress made: one frame that says how much it holds, 256 MiB
// at most, or holds next to nothing. Nothing is decoded beyond what it says.
func Decompress(frame []byte) ([]byte, error) {
	var head zstd.Header
	if err := head.Decode(frame); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	size := uint64(mostUnsaid)
	if head.HasFCS {
		size = head.FrameContentSize
	}
	if head.Skippable || size > maxDecoded {
		return nil, errors.New("zstd: the frame is not one of ours, or too large")
	}
	dec, err := decoder()
	if err != nil {
		return nil, err
	}
	return dec.DecodeAll(frame, make([]byte, 0, size))
}
