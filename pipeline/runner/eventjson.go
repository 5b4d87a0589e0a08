package runner

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"pipe/cache"
)

// appendEnd appends what endOf says of a stage that was known as encoding/json writes it,
// without its cost: in a run in which nothing is to be done there is little else to write.
// ok is false for other events, and for what is not worth its lines here.
func appendEnd(b []byte, e *Event) (line []byte, ok bool) {
	if e.Type != "stage_end" || e.Outcome != Cached || e.Attempt != 0 || e.Withheld != "" || e.Error != "" {
		return b, false
	}
	if size := math.Abs(e.Seconds); size != 0 && size < 1e-6 || size >= 1e21 || !plainTime(e.Time) {
		return b, false // it has another form
	}
	b = append(b, `{"event":"stage_end","time":"`...)
	b = append(e.Time.AppendFormat(b, time.RFC3339Nano), '"')
	b = appendMember(b, `,"stage":`, e.Stage)
	b = appendMember(b, `,"key":`, e.Key)
	b = appendMember(b, `,"why":`, e.Why)
	b = appendMember(b, `,"outcome":`, string(e.Outcome))
	if e.Seconds != 0 {
		b = strconv.AppendFloat(append(b, `,"seconds":`...), e.Seconds, 'f', -1, 64)
	}
	if len(e.Inputs) > 0 {
		b = appendMap(append(b, `,"inputs":`...), e.Inputs, appendUse)
	}
	if len(e.Params) > 0 {
		b = appendMap(append(b, `,"params":`...), e.Params, appendText)
	}
	if len(e.Outputs) > 0 {
		b = appendMap(append(b, `,"outputs":`...), e.Outputs, appendObject)
	}
	return append(b, '}'), true
}

// plainTime says whether encoding/json writes a time as RFC 3339 has it.
func plainTime(t time.Time) bool {
	_, offset := t.Zone()
	return 0 <= t.Year() && t.Year() <= 9999 && offset%60 == 0 && -24*3600 < offset && offset < 24*3600
}

func appendUse(b []byte, u *InputUse) []byte {
	if u == nil || len(u.Files) > 0 {
		text, _ := json.Marshal(u) // which cannot fail
		return append(b, text...)
	}
	b = append(b, '{')
	start := len(b)
	b = appendMember(b, `,"from":`, u.From)
	b = appendMember(b, `,"source":`, u.Source)
	b = appendMember(b, `,"at":`, u.At)
	b = appendMember(b, `,"reference":`, u.Reference)
	if u.Content != nil {
		b = appendObject(append(b, `,"content":`...), *u.Content)
	}
	if len(b) > start {
		b = slices.Delete(b, start, start+1) // the first comma
	}
	return append(b, '}')
}

func appendObject(b []byte, o cache.Object) []byte {
	b = appendText(append(b, `{"kind":`...), string(o.Kind))
	b = hex.AppendEncode(append(b, `,"digest":"`...), o.Digest[:])
	return append(strconv.AppendInt(append(b, `","size":`...), o.Size, 10), '}')
}

// appendMap appends a map in the order of its names.
func appendMap[V any](b []byte, m map[string]V, value func(b []byte, v V) []byte) []byte {
	var room [8]string // which need not leave the stack
	names := slices.AppendSeq(room[:0], maps.Keys(m))
	slices.Sort(names)
	for i, name := range names {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		b = append(appendText(append(b, before), name), ':')
		b = value(b, m[name])
	}
	return append(b, '}')
}

// appendMember appends a text with the name of its member, unless it is empty.
func appendMember(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendText(append(b, name...), text)
}

// appendText appends a text as JSON.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(text) // which cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}
