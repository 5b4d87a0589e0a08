package tfevents

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"pipe/internal/metrics"
)

// TestBytes pins a file that TensorFlow's own EventsWriter would write: the first
// record is known from every event file there is.
func TestBytes(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, time.Unix(0, 0))
	if err := w.Scalars(time.Unix(1, 500e6), 300, map[string]float64{"b": 2, "a": 0.5}); err != nil {
		t.Fatal(err)
	}
	got := hex.EncodeToString(b.Bytes())
	// wall_time 0, file_version "brain.Event:2": 24 bytes, whose length has the mask a37f4b22.
	if want := "1800000000000000a37f4b22" + "090000000000000000" + "1a0d" + hex.EncodeToString([]byte("brain.Event:2")); !strings.HasPrefix(got, want) {
		t.Errorf("got %s\nwant %s…", got, want)
	}
	if want := "09000000000000f83f" + "10ac02" + "2a14" + "0a080a0161150000003f" + "0a080a01621500000040"; !strings.Contains(got, want) {
		t.Errorf("got %s\nwant it to hold %s", got, want)
	}
}

// readAll returns "step tag value" of every scalar, checking the sums.
func readAll(t *testing.T, b []byte) (lines []string) {
	t.Helper()
	for r := bytes.NewReader(b); r.Len() > 0; {
		head, data := make([]byte, 12), []byte(nil)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		data = make([]byte, binary.LittleEndian.Uint64(head)+4)
		if _, err := io.ReadFull(r, data); err != nil {
			t.Fatal(err)
		}
		body := data[:len(data)-4]
		if binary.LittleEndian.Uint32(head[8:]) != masked(head[:8]) || binary.LittleEndian.Uint32(data[len(body):]) != masked(body) {
			t.Fatal("a checksum is wrong")
		}
		wall := math.Float64frombits(binary.LittleEndian.Uint64(body[1:]))
		body = body[9:]
		if body[0] != 2<<3 {
			continue // the version
		}
		step, n := binary.Uvarint(body[1:])
		body = body[1+n:]
		_, n = binary.Uvarint(body[1:])
		for summary := body[1+n:]; len(summary) > 0; {
			size, n := binary.Uvarint(summary[1:])
			value := summary[1+n : 1+n+int(size)]
			summary = summary[1+n+int(size):]
			tag := value[2 : 2+value[1]]
			lines = append(lines, fmt.Sprintf("%g %d %s %g", wall, step, tag, math.Float32frombits(binary.LittleEndian.Uint32(value[len(value)-4:]))))
		}
	}
	return lines
}

func TestWriteATraining(t *testing.T) {
	m := metrics.Parse([]byte(`{"step":1,"loss":4}
{"step":2,"loss":3}
{"checkpoint":"c","step":2,"loss":3.5,"hold_out":{"loss":0.5}}
{"step":3,"loss":2}
`))
	var b bytes.Buffer
	if err := Write(&b, m, []byte("{\"step\":2,\"seconds\":1.5,\"tokens_per_second\":100}\n{\"st"), time.Unix(10, 0)); err != nil {
		t.Fatal(err)
	}
	want := []string{"10 1 train/loss 4", "11.5 2 train/loss 3", "11.5 2 train/tokens_per_second 100",
		"11.5 2 checkpoint/hold_out.loss 0.5", "11.5 2 checkpoint/loss 3.5", "11.5 3 train/loss 2"}
	if got := readAll(t, b.Bytes()); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
