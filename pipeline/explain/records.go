package explain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// record is a line of a JSON Lines file.
type record struct {
	line int // from 1
	text string

	parsed bool
	id     string
	fields map[string]string // by name, in the words of Field
	order  []string
}

// isRecords says whether a file looks like JSON Lines.
func isRecords(b []byte) bool {
	first, _, _ := bytes.Cut(bytes.TrimLeft(b, " \t\r\n"), []byte("\n"))
	first = bytes.TrimSpace(first)
	return len(first) > 1 && first[0] == '{' && json.Valid(first)
}

func readRecords(b []byte) []*record {
	var records []*record
	for i, line := range splitLines(b) {
		if strings.TrimSpace(line) != "" {
			records = append(records, &record{line: i + 1, text: line})
		}
	}
	return records
}

// CountRecords returns how many records a JSON Lines file holds, and whether it is
// one.
func CountRecords(b []byte) (int, bool) {
	if !isRecords(b) {
		return 0, false
	}
	return len(readRecords(b)), true
}

// diffRecords compares two JSON Lines files. Records belong together if they are
// equal, else if they have one id, else if they stand at one place and are alike.
func diffRecords(a, b []byte) *Diff {
	old, new := readRecords(a), readRecords(b)
	d := &Diff{Unit: "record", Old: len(old), New: len(new)}
	m := match(texts(old), texts(new))
	d.Reordered = m.reordered
	pairs := m.join(func(isOld bool, i int) string {
		if isOld {
			return old[i].parse().id
		}
		return new[i].parse().id
	})
	pairs = append(pairs, m.neighbours(func(i, j int) bool { return alike(old[i].text, new[j].text) })...)
	slices.SortFunc(pairs, func(p, q pair) int { return p.new - q.new })
	for _, p := range pairs {
		x, y := old[p.old].parse(), new[p.new].parse()
		c := Changed{Old: Element{Line: x.line, ID: x.id}, New: Element{Line: y.line, ID: y.id}, Fields: diffFields(x, y)}
		if len(c.Fields) == 0 {
			d.Respaced++
			continue
		}
		d.Changed = append(d.Changed, c)
	}
	for _, i := range m.oldLeft {
		d.Removed = append(d.Removed, old[i].parse().element())
	}
	for _, j := range m.newLeft {
		d.Added = append(d.Added, new[j].parse().element())
	}
	return d
}

func texts(records []*record) []string {
	list := make([]string, len(records))
	for i, r := range records {
		list[i] = r.text
	}
	return list
}

func (r *record) element() Element {
	text := r.text
	if len(r.order) > 0 && strings.HasPrefix(r.order[0], "user") || len(r.order) > 1 && r.order[0] == "system" {
		text = r.fields[r.order[0]] // of a conversation, what it begins with
	}
	return Element{Line: r.line, ID: r.id, Text: text}
}

// parse reads the record's id and fields. A line that is no object has neither but
// itself.
func (r *record) parse() *record {
	if r.parsed {
		return r
	}
	r.parsed, r.fields = true, map[string]string{}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(r.text), &object) != nil {
		r.add("line", r.text)
		return r
	}
	var messages []struct{ Role, Content string }
	if json.Unmarshal(object["messages"], &messages) == nil && len(messages) > 0 {
		delete(object, "messages")
		total, count := map[string]int{}, map[string]int{}
		for _, m := range messages {
			total[m.Role]++
		}
		var users []string
		for _, m := range messages {
			name := m.Role
			if name == "assistant" {
				name = "answer"
			}
			if count[m.Role]++; total[m.Role] > 1 {
				name = fmt.Sprintf("%s %d", name, count[m.Role])
			}
			r.add(name, m.Content)
			if m.Role == "user" {
				users = append(users, m.Content)
			}
		}
		sum := sha256.Sum256([]byte(strings.Join(users, "\n")))
		r.id = hex.EncodeToString(sum[:4])
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		r.add(key, plainJSON(object[key]))
	}
	if id := plainJSON(object["id"]); id != "" && id[0] != '{' && id[0] != '[' {
		r.id = id
	}
	return r
}

func (r *record) add(name, text string) {
	r.fields[name] = text
	r.order = append(r.order, name)
}

// plainJSON is a value without the quotes of a string and without spacing.
func plainJSON(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && raw[0] == '"' {
		return s
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func diffFields(old, new *record) []Field {
	var fields []Field
	for _, n := range old.order {
		if text, ok := new.fields[n]; !ok || text != old.fields[n] {
			fields = append(fields, Field{Name: n, Old: old.fields[n], New: text})
		}
	}
	for _, n := range new.order {
		if _, ok := old.fields[n]; !ok {
			fields = append(fields, Field{Name: n, New: new.fields[n]})
		}
	}
	return fields
}
