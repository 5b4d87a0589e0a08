package safetensors

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tensor is a tensor to be written. Data is row-major and little-endian; it is
// read, never changed or kept longer than said.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// check returns why t cannot be written.
func (t Tensor) check() error {
	switch {
	case t.Name == "" || t.Name == "__metadata__" || strings.ToValidUTF8(t.Name, "") != t.Name:
		return fmt.Errorf("tensor %q: not a name for a tensor", t.Name)
	case t.DType.Bits() == 0:
		return fmt.Errorf("tensor %q: unknown dtype %q", t.Name, t.DType)
	case len(t.Shape) > maxDimensions:
		return fmt.Errorf("tensor %q: %d dimensions, at most %d are allowed", t.Name, len(t.Shape), maxDimensions)
	}
	size, message := sizeOf(t.DType, t.Shape)
	if message != "" {
		return fmt.Errorf("tensor %q, %s %v: %s", t.Name, t.DType, t.Shape, message)
	}
	if size != int64(len(t.Data)) {
		return fmt.Errorf("tensor %q: %s %v takes %d bytes, got %d", t.Name, t.DType, t.Shape, size, len(t.Data))
	}
	return nil
}

// FormatPT is the metadata that PyTorch's readers ask for.
var FormatPT = map[string]string{"format": "pt"}

// WriteFile writes tensors, of different names, to a new file at path, which
// replaces an old one in one step. The bytes depend on the tensors and metadata
// alone and are those of the original library: tensors by type, the widest
// first, then by name; the header in that order, padded to 8 bytes.
func WriteFile(path string, tensors []Tensor, metadata map[string]string) error {
	sorted := slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b Tensor) int {
		if c := b.DType.rank() - a.DType.rank(); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	h := newHeaderText(metadata)
	for _, t := range sorted {
		if err := t.check(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := h.add(t); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	text := h.padded(0)
	f, err := newTempFile(path)
	if err != nil {
		return err
	}
	defer f.abort()
	w := bufio.NewWriterSize(f, 1<<16)
	w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
	w.Write(text)
	for _, t := range sorted {
		w.Write(t.Data)
	}
	if err := w.Flush(); err != nil { // of any of the writes
		return err
	}
	return f.commit(path)
}

// Writer writes a file tensor by tensor. The memory it takes does not grow with
// the tensors, but for the small ones described at Add.
//
// The header stands before the data but is known only after it. So Create is
// told the names and reserves space for their entries; Commit writes the header
// there and fills the rest with spaces. Until then the file has a temporary name
// and begins with zeros, which no reader takes for a header.
type Writer struct {
	path     string
	file     *tempFile
	buf      *bufio.Writer
	reserved int // bytes of header
	header   *headerText
	expected map[string]bool // names not yet written
	held     []Tensor
	heldSize int
	err      error // sticky
}

// entryBytes is the most that an entry takes beside its name: 50 bytes of fixed
// text, 11 of type, 40 of dimensions and 2·16 of offsets, rounded up.
const entryBytes = 136

// Create starts a file that will replace the one at path, with tensors of these
// names, in any order. The bytes depend on names, metadata and what is added.
func Create(path string, names []string, metadata map[string]string) (*Writer, error) {
	w := &Writer{path: path, header: newHeaderText(metadata), expected: map[string]bool{}}
	w.reserved = len(w.header.text) + 8
	for _, name := range names {
		w.reserved += len(quote(name)) + entryBytes
		w.expected[name] = true
	}
	w.reserved = (w.reserved + 7) &^ 7
	if w.reserved > maxHeader {
		return nil, fmt.Errorf("%s: %d names take a header of %d bytes, at most %d are allowed", path, len(names), w.reserved, maxHeader)
	}
	var err error
	if w.file, err = newTempFile(path); err != nil {
		return nil, err
	}
	w.buf = bufio.NewWriterSize(w.file, 1<<20)
	if _, err := w.buf.Write(make([]byte, 8+w.reserved)); err != nil {
		w.file.abort()
		return nil, err
	}
	return w, nil
}

// maxHeld bounds the memory for tensors that Add holds back. Beyond it a tensor
// is written where it comes, and those after it may be unaligned: legal, but
// PyTorch cannot view them.
const maxHeld = 64 << 20

// Add writes a tensor. Its data may be changed afterwards.
//
// Tensors follow one another in the file as they are added, except that one
// whose length is no multiple of 8 bytes is kept in memory and written at the
// end, wide types before narrow ones: so each tensor begins at a multiple of its
// element's size.
func (w *Writer) Add(t Tensor) error {
	if w.err != nil {
		return w.err
	}
	if err := t.check(); err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	if !w.expected[t.Name] {
		return fmt.Errorf("%s: tensor %q was not announced, or is there already", w.path, t.Name)
	}
	delete(w.expected, t.Name)
	if len(t.Data)%8 != 0 && w.heldSize+len(t.Data) <= maxHeld {
		t.Data, t.Shape = slices.Clone(t.Data), slices.Clone(t.Shape)
		w.held = append(w.held, t)
		w.heldSize += len(t.Data)
		return nil
	}
	return w.write(t)
}

func (w *Writer) write(t Tensor) error {
	if w.err = w.header.add(t); w.err != nil {
		return w.err
	}
	_, w.err = w.buf.Write(t.Data)
	return w.err
}

// Commit completes the file and gives it its name. It fails if a tensor that was
// announced is missing. After an error the file is gone.
func (w *Writer) Commit() error {
	defer w.Abort()
	if len(w.expected) > 0 && w.err == nil {
		for name := range w.expected {
			w.err = fmt.Errorf("%s: %d tensors are missing, among them %q", w.path, len(w.expected), name)
			break
		}
	}
	slices.SortStableFunc(w.held, func(a, b Tensor) int { return int(b.DType.Bits() - a.DType.Bits()) })
	for _, t := range w.held {
		if w.err == nil {
			w.write(t)
		}
	}
	if w.err != nil {
		return w.err
	}
	text := w.header.padded(w.reserved)
	if len(text) > w.reserved {
		return fmt.Errorf("%s: the header takes %d bytes, %d were reserved", w.path, len(text), w.reserved)
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	start := binary.LittleEndian.AppendUint64(nil, uint64(w.reserved))
	if _, err := w.file.WriteAt(append(start, text...), 0); err != nil {
		return err
	}
	return w.file.commit(w.path)
}

// Abort gives the file up. After Commit it does nothing, so that it can be
// deferred.
func (w *Writer) Abort() {
	if w.err == nil {
		w.err = fmt.Errorf("%s: %w", w.path, os.ErrClosed)
	}
	w.file.abort()
}

// tempFile is a file under a temporary name beside the one it will replace.
type tempFile struct {
	*os.File
	done bool
}

func newTempFile(path string) (*tempFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return nil, err
	}
	return &tempFile{File: f}, nil
}

// commit makes the content durable and renames the file to path. A file whose
// content could not be made durable is thrown away.
func (f *tempFile) commit(path string) error {
	defer f.abort()
	err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	f.done = true
	return nil
}

// abort removes the file unless it was committed.
func (f *tempFile) abort() {
	if f.done {
		return
	}
	f.done = true
	f.Close()
	os.Remove(f.Name())
}
