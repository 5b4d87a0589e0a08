package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// headerText builds the header of a file that is being written.
type headerText struct {
	text  []byte // all but the closing brace
	end   int64  // of the data so far
	names map[string]bool
}

// newHeaderText begins with the metadata, keys sorted.
func newHeaderText(metadata map[string]string) *headerText {
	h := &headerText{text: []byte{'{'}, names: map[string]bool{}}
	if len(metadata) == 0 {
		return h
	}
	h.text = append(h.text, `"__metadata__":{`...)
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if i > 0 {
			h.text = append(h.text, ',')
		}
		h.text = append(h.text, quote(key)...)
		h.text = append(h.text, ':')
		h.text = append(h.text, quote(metadata[key])...)
	}
	h.text = append(h.text, '}')
	return h
}

// add appends the entry of the tensor that comes next in the data.
func (h *headerText) add(t Tensor) error {
	if h.names[t.Name] {
		return fmt.Errorf("tensor %q is there twice", t.Name)
	}
	h.names[t.Name] = true
	if len(h.text) > 1 {
		h.text = append(h.text, ',')
	}
	dims := make([]string, len(t.Shape))
	for i, dim := range t.Shape {
		dims[i] = strconv.Itoa(dim)
	}
	begin := h.end
	h.end += int64(len(t.Data))
	h.text = fmt.Appendf(h.text, `%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`,
		quote(t.Name), t.DType, strings.Join(dims, ","), begin, h.end)
	return nil
}

// padded returns the complete header, padded with spaces to at least size bytes
// and a multiple of 8.
func (h *headerText) padded(size int) []byte {
	text := append(slices.Clone(h.text), '}')
	size = (max(size, len(text)) + 7) &^ 7
	return append(text, bytes.Repeat([]byte{' '}, size-len(text))...)
}

// quote returns s as a JSON string that escapes no more than JSON asks for.
func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("internal error: safetensors: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
