package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"pipe/internal/problem"
)

// InfoName is the file that goes with tokens and adapters and says what they were
// made with, so that nothing is asked in another form than it was taught in.
const InfoName = "chat.json"

// Info is the content of chat.json. Base is absent beside tokens.
type Info struct {
	Template     string `json:"template"`
	AnswerPrefix bool   `json:"answer_prefix"`
	Tokenizer    string `json:"tokenizer"` // SHA-256 of tokenizer.model
	Base         *Base  `json:"base,omitempty"`
}

// Base names the model that an adapter belongs to.
type Base struct {
	Reference    string        `json:"reference"` // builtin:…, hf:…, or sha256:… of a folder's files
	Digest       string        `json:"digest"`    // SHA-256 of the folder's files as they were pinned
	Quantization *Quantization `json:"quantization,omitempty"`
}

// Quantization says how the base was quantised.
type Quantization struct {
	Type        string `json:"type"`
	BlockSize   int    `json:"block_size"`
	DoubleQuant bool   `json:"double_quant"`
}

// WriteInfo writes chat.json into a folder.
func WriteInfo(dir string, info Info) error { return writeJSON(filepath.Join(dir, InfoName), info) }

// ReadInfo reads chat.json from a folder. The error names the file.
func ReadInfo(dir string) (Info, error) {
	path := filepath.Join(dir, InfoName)
	b, err := os.ReadFile(path)
	if err != nil {
		return Info{}, err
	}
	return ParseInfo(path, b)
}

// ParseInfo reads the content of a chat.json. path stands for it in the error.
func ParseInfo(path string, b []byte) (Info, error) {
	info := Info{AnswerPrefix: true}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&info); err != nil {
		return Info{}, problem.List{problem.At(path, 0, 0, "not readable as JSON: %v", err)}
	}
	if _, err := info.NewTemplate(); err != nil {
		return Info{}, problem.List{problem.At(path, 0, 0, "%v", err)}
	}
	return info, nil
}

// NewTemplate returns the template that the info names.
func (i Info) NewTemplate() (Template, error) {
	t, err := NewTemplate(i.Template, Options{NoAnswerPrefix: !i.AnswerPrefix})
	if err != nil {
		return t, fmt.Errorf("template: %w", err)
	}
	return t, nil
}

// OriginName is the file in a quantised base that says what it was made of.
const OriginName = "pipe.json"

// WriteOrigin writes pipe.json into a folder.
func WriteOrigin(dir string, base Base) error { return writeJSON(filepath.Join(dir, OriginName), base) }

// ReadOrigin reads pipe.json from a folder. The error names the file.
func ReadOrigin(dir string) (Base, error) {
	path := filepath.Join(dir, OriginName)
	b, err := os.ReadFile(path)
	if err != nil {
		return Base{}, err
	}
	var base Base
	if err := json.Unmarshal(b, &base); err != nil {
		return base, problem.List{problem.At(path, 0, 0, "not readable as JSON: %v", err)}
	}
	return base, nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o666)
}
