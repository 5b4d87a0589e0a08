// Package tfevents writes the event files that TensorBoard reads.
//
// A file is a row of TFRecords, each
//
//	length   8 bytes, little-endian
//	check    4 bytes: the masked CRC-32C of the length
//	data     length bytes: a tensorflow.Event, as protocol buffers write it
//	check    4 bytes: the masked CRC-32C of the data
//
// The first Event says "brain.Event:2"; each other one holds scalars of one step.
// Sources: tensorflow/core/lib/io/record_writer.cc, tensorflow/core/util/event.proto,
// tensorflow/core/framework/summary.proto.
package tfevents

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"pipe/internal/metrics"
)

// Name is what an event file may be called: TensorBoard reads files whose name holds
// "tfevents".
const Name = "events.out.tfevents.pipe"

// Writer writes events one after the other.
type Writer struct {
	w   io.Writer
	err error
}

// NewWriter begins an event file at a time.
func NewWriter(w io.Writer, began time.Time) *Writer {
	out := &Writer{w: w}
	out.record(appendBytes(event(began), 3, []byte("brain.Event:2")))
	return out
}

// Scalars adds values of a step, sorted by name, as they were known at a time. A
// value is kept as a float32. The error is the first of all calls.
func (w *Writer) Scalars(at time.Time, step int, values map[string]float64) error {
	var summary []byte
	for _, tag := range slices.Sorted(maps.Keys(values)) {
		value := appendBytes(nil, 1, []byte(tag))
		value = appendTag(value, 2, fixed32)
		value = binary.LittleEndian.AppendUint32(value, math.Float32bits(float32(values[tag])))
		summary = appendBytes(summary, 1, value)
	}
	e := appendTag(event(at), 2, varint)
	e = binary.AppendUvarint(e, uint64(step))
	w.record(appendBytes(e, 5, summary))
	return w.err
}

// Wire types of protocol buffers.
const (
	varint  = 0
	fixed64 = 1
	length  = 2
	fixed32 = 5
)

func appendTag(b []byte, field, wire int) []byte {
	return binary.AppendUvarint(b, uint64(field<<3|wire))
}

func appendBytes(b []byte, field int, data []byte) []byte {
	b = binary.AppendUvarint(appendTag(b, field, length), uint64(len(data)))
	return append(b, data...)
}

// event begins an Event with its wall_time, in seconds.
func event(at time.Time) []byte {
	seconds := float64(at.UnixMicro()) / 1e6
	return binary.LittleEndian.AppendUint64(appendTag(nil, 1, fixed64), math.Float64bits(seconds))
}

func (w *Writer) record(data []byte) {
	if w.err != nil {
		return
	}
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b := binary.LittleEndian.AppendUint32(head, masked(head))
	b = append(b, data...)
	_, w.err = w.w.Write(binary.LittleEndian.AppendUint32(b, masked(data)))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the CRC-32C as TFRecords have it: rotated right by 15 bits plus a
// constant, so that a CRC of data that holds CRCs is no weaker
// (tensorflow/core/lib/hash/crc32c.h).
func masked(b []byte) uint32 {
	crc := crc32.Checksum(b, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// Write writes an event file of a training: its points under train/, its checkpoints
// under checkpoint/. times is a timing attachment (metrics.TimingName), in
// seconds since began, which may lack any step: an event without a time of its own has
// that of the one before.
func Write(w io.Writer, m *metrics.Metrics, times []byte, began time.Time) error {
	byStep := map[int]metrics.Timing{}
	for _, t := range metrics.ParseTimings(times) {
		byStep[t.Step] = t
	}
	out := NewWriter(w, began)
	at := began
	checkpoints := m.Checkpoints
	flush := func(upTo int) {
		for len(checkpoints) > 0 && checkpoints[0].Step <= upTo {
			out.Scalars(at, checkpoints[0].Step, under("checkpoint/", checkpoints[0].Values))
			checkpoints = checkpoints[1:]
		}
	}
	for _, p := range m.Points {
		values := under("train/", p.Values)
		if t, ok := byStep[p.Step]; ok {
			at = began.Add(time.Duration(t.Seconds * float64(time.Second)))
			values["train/tokens_per_second"] = t.TokensPerSecond
		}
		out.Scalars(at, p.Step, values)
		flush(p.Step)
	}
	flush(math.MaxInt)
	return out.err
}

func under(folder string, values map[string]float64) map[string]float64 {
	named := make(map[string]float64, len(values)+1)
	for name, v := range values {
		named[folder+name] = v
	}
	return named
}
