package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"unicode/utf8"

	"pipe/internal/problem"
)

// maxHeader is the longest header that the format allows.
const maxHeader = 100_000_000

// maxDimensions is as many as NumPy and PyTorch allow.
const maxDimensions = 64

// maxProblems bounds the list that a hostile header can make.
const maxProblems = 100

// Info describes a tensor of a file.
type Info struct {
	Name  string
	DType DType
	Shape []int

	// Begin and End are the tensor's bytes, counted from the start of the file.
	Begin, End int64

	at int64 // the byte of the file at which the header names the tensor
}

// Count returns the number of elements.
func (t Info) Count() int {
	n, _ := Count(t.Shape)
	return int(n)
}

// header is what a file says about itself.
type header struct {
	tensors  []Info // in the order of their data
	metadata map[string]string
}

// headerReader collects what is wrong with one file.
type headerReader struct {
	file     string
	size     int64
	problems problem.List
}

func (r *headerReader) add(at int64, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems.Add(problem.AtByte(r.file, at, format, args...))
	}
}

// readHeader parses and checks the header of a file, of which data is the whole
// content or at least everything up to the header's end, and size the length.
func readHeader(file string, data []byte, size int64) (header, error) {
	r := &headerReader{file: file, size: size}
	h := r.read(data)
	if err := r.problems.Err(); err != nil {
		return header{}, err
	}
	return h, nil
}

func (r *headerReader) read(data []byte) header {
	text, ok := r.text(data)
	if !ok {
		return header{}
	}
	s := &scanner{data: text}
	h, err := r.parse(s)
	if bad := (*syntaxError)(nil); errors.As(err, &bad) {
		r.add(8+int64(bad.pos), "header: %s", bad.message)
		return h
	}
	for i := s.pos; i < len(text); i++ {
		if text[i] != ' ' {
			r.add(8+int64(i), "header: 0x%02x after its end, where only spaces may be", text[i])
			return h
		}
	}
	r.checkRanges(h.tensors, 8+int64(len(text)))
	return h
}

// text returns the header's bytes.
func (r *headerReader) text(data []byte) ([]byte, bool) {
	if hint := notSafetensors(data); hint != "" {
		r.problems.Add(problem.AtByte(r.file, 0, "this is not a safetensors file").WithHint("%s", hint))
		return nil, false
	}
	if len(data) < 8 {
		r.add(r.size, "the file ends after %d bytes: the length of its header takes 8", r.size)
		return nil, false
	}
	length := binary.LittleEndian.Uint64(data)
	switch {
	case length > maxHeader:
		r.add(0, "header of %d bytes: at most %d are allowed", length, maxHeader)
		return nil, false
	case int64(length) > r.size-8:
		r.add(r.size, "the file ends inside its header: %d of %d bytes are missing", int64(length)-(r.size-8), length)
		return nil, false
	case length == 0 || data[8] != '{':
		r.add(8, "header does not begin with '{'")
		return nil, false
	}
	text := data[8 : 8+length]
	if i := invalidUTF8(text); i >= 0 {
		r.add(8+int64(i), "header: byte 0x%02x is not UTF-8", text[i])
		return nil, false
	}
	return text, true
}

// invalidUTF8 returns the place of the first byte that is not part of UTF-8, or
// -1.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	i := 0
	for {
		c, n := utf8.DecodeRune(text[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
}

// notSafetensors recognises what is often found under the name of a
// safetensors file, and says what to do about it.
func notSafetensors(data []byte) string {
	if len(data) > 8 && data[8] == '{' {
		return "" // a header of 640 or 1152 bytes has the length of a pickle's first two
	}
	begins := func(prefix string) bool {
		return len(data) >= len(prefix) && string(data[:len(prefix)]) == prefix
	}
	switch {
	case begins("version https://git-lfs"):
		return "it is the pointer that Git LFS leaves for a file not fetched: run `git lfs pull`"
	case begins("PK\x03\x04"), begins("\x80\x02"), begins("\x80\x04"):
		return "it looks like a PyTorch pickle: " + convertHint
	case begins("<!DOCTYPE"), begins("<html"):
		return "it is a web page: the download failed"
	}
	return ""
}

// parse reads the header's object. Syntax errors end it; other problems are
// collected.
func (r *headerReader) parse(s *scanner) (header, error) {
	var h header
	base := 8 + int64(len(s.data))
	err := s.object(func(name string, at int) error {
		if name == "__metadata__" {
			h.metadata = map[string]string{}
			return s.object(func(key string, _ int) error {
				value, err := s.text()
				h.metadata[key] = value
				return err
			})
		}
		t, err := r.tensor(s, name, 8+int64(at))
		t.Begin += base
		t.End += base
		h.tensors = append(h.tensors, t)
		return err
	})
	return h, err
}

// tensor reads one entry. Begin and End count from the start of the data.
func (r *headerReader) tensor(s *scanner, name string, at int64) (Info, error) {
	t := Info{Name: name, at: at}
	var members int
	err := s.object(func(key string, keyAt int) error {
		members++
		switch key {
		case "dtype":
			text, err := s.text()
			t.DType = DType(text)
			return err
		case "shape":
			return s.array(func() error {
				s.peek()
				dimAt := s.pos
				n, err := s.natural()
				if n > math.MaxInt {
					return s.fail(dimAt, "dimension %d is too large", n)
				}
				if len(t.Shape) == maxDimensions {
					return s.fail(dimAt, "tensor %.100q has more than %d dimensions", name, maxDimensions)
				}
				t.Shape = append(t.Shape, int(n))
				return err
			})
		case "data_offsets":
			return offsets(s, &t)
		}
		return s.fail(keyAt, "tensor %.100q: unknown member %.100q", name, key)
	})
	if err != nil {
		return t, err
	}
	if members != 3 {
		return t, s.fail(int(at-8), "tensor %.100q lacks one of dtype, shape and data_offsets", name)
	}
	r.checkSize(t)
	return t, nil
}

func offsets(s *scanner, t *Info) error {
	s.peek()
	at := s.pos
	var pair []int64
	err := s.array(func() error {
		n, err := s.natural()
		if err == nil && n > math.MaxInt64-8-maxHeader {
			return s.fail(at, "data_offsets: %d is too large", n)
		}
		pair = append(pair, n)
		return err
	})
	if err != nil {
		return err
	}
	if len(pair) != 2 {
		return s.fail(at, "data_offsets has %d numbers, not 2", len(pair))
	}
	t.Begin, t.End = pair[0], pair[1]
	return nil
}

// checkSize holds the range of t to its type and shape.
func (r *headerReader) checkSize(t Info) {
	if t.DType.Bits() == 0 {
		if len(r.problems) < maxProblems {
			r.problems.Add(problem.AtByte(r.file, t.at, "tensor %.100q: unknown dtype %.100q", t.Name, t.DType).
				WithHint("the format knows %s", dtypeNames()))
		}
		return
	}
	size, message := sizeOf(t.DType, t.Shape)
	switch {
	case message != "":
		r.add(t.at, "tensor %.100q, %s %v: %s", t.Name, t.DType, t.Shape, message)
	case t.End < t.Begin:
		r.add(t.at, "tensor %.100q: data_offsets [%d, %d] run backwards", t.Name, t.Begin, t.End)
	case t.End-t.Begin != size:
		r.add(t.at, "tensor %.100q: %s %v takes %d bytes, data_offsets [%d, %d] give it %d",
			t.Name, t.DType, t.Shape, size, t.Begin, t.End, t.End-t.Begin)
	}
}

// checkRanges holds the ranges to one another and to the file: they follow each
// other from the start of the data, base, to the end of the file. It sorts them.
func (r *headerReader) checkRanges(tensors []Info, base int64) {
	slices.SortStableFunc(tensors, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End))
	})
	end := base
	for _, t := range tensors {
		switch {
		case t.Begin > end:
			r.add(t.at, "tensor %.100q begins at %d of the data: the %d bytes before it belong to no tensor",
				t.Name, t.Begin-base, t.Begin-end)
		case t.Begin < end:
			r.add(t.at, "tensor %.100q begins at %d of the data, inside the tensor before it, which ends at %d",
				t.Name, t.Begin-base, end-base)
		}
		end = max(end, t.End)
	}
	switch {
	case end > r.size:
		r.problems.Add(problem.AtByte(r.file, r.size, "the file ends here: %d bytes of data are missing", end-r.size).
			WithHint("it was cut short: fetch or write it again"))
	case end < r.size:
		r.add(end, "%d bytes after the end of the last tensor", r.size-end)
	}
}
