package chat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pipe/internal/golden"
	"pipe/internal/problem"
)

// good is a line without a fault.
const good = `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."}]}`

func read(t *testing.T, text string) []Record {
	t.Helper()
	records, err := ReadRecords(strings.NewReader(text), "data.jsonl", 2)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestReadRecords(t *testing.T) {
	records := read(t, good+"\r\n\n  \t\n"+
		`{"id":7.0,"messages":[{"role":"system","content":"Be terse."},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d","weight":0}],"kind":"refusal","tags":["x",{"y":null}]}`+"\n"+
		`{"kind":"answer","id":"r-1","messages":[{"content":"\u00e9\ud83d\ude00\u2028\/\b","role":"user"},{"content":" \ufffd ok\n","role":"assistant"}]}`)
	if len(records) != 3 {
		t.Fatalf("got %d records", len(records))
	}
	a, b, c := records[0], records[1], records[2]
	if a.Line != 1 || b.Line != 4 || c.Line != 5 {
		t.Errorf("lines %d, %d, %d", a.Line, b.Line, c.Line)
	}
	if a.ID != "3639efcd" || b.ID != "7.0" || c.ID != "r-1" {
		t.Errorf("ids %q, %q, %q", a.ID, b.ID, c.ID)
	}
	if a.Kind != "" || b.Kind != Refusal || c.Kind != Answer {
		t.Errorf("kinds %q, %q, %q", a.Kind, b.Kind, c.Kind)
	}
	if want := []Message{{User, "é😀\u2028/\b"}, {Assistant, " \ufffd ok\n"}}; !slices.Equal(c.Messages, want) {
		t.Errorf("got %q, want %q", c.Messages, want)
	}
	if len(b.Messages) != 5 || b.Messages[0] != (Message{System, "Be terse."}) {
		t.Errorf("got %q", b.Messages)
	}
}

func TestIDIsMadeOfTheUsersTextsAlone(t *testing.T) {
	one := []Message{{System, "x"}, {User, "a"}, {Assistant, "b"}, {User, "c"}, {Assistant, "d"}}
	two := []Message{{User, "a"}, {Assistant, "other"}, {User, "c"}, {Assistant, "answers"}}
	if UserTurnsID(one) != UserTurnsID(two) || UserTurnsID(one) == UserTurnsID(two[:2]) || len(UserTurnsID(one)) != 8 {
		t.Errorf("got %s, %s, %s", UserTurnsID(one), UserTurnsID(two), UserTurnsID(two[:2]))
	}
}

// badLines are lines with one fault each.
var badLines = []struct {
	name, line string
	want       string // after the file's name
}{
	{"not JSON", `messages`, `:1:1: not JSON: expected a value, found 'm'`},
	{"empty array", `[]`, `:1:1: the line holds an array, not an object`},
	{"text", `"messages"`, `:1:1: the line holds "messages", not an object`},
	{"null", `null`, `:1:1: the line holds null, not an object`},
	{"cut off", `{"messages":[`, `:1:14: not JSON: expected a value, found the end of the line`},
	{"cut off inside a string", `{"messages":[{"role":"us`, `:1:22: not JSON: a string without its closing`},
	{"cut off inside an escape", `{"messages":[{"role":"us\`, `:1:25: not JSON: the line ends inside an escape`},
	{"single quotes", `{'messages':[]}`, `:1:2: not JSON: expected a key in quotation marks, found '\''`},
	{"trailing comma", `{"messages":[1,]}`, `:1:16: not JSON: expected a value, found ']'`},
	{"trailing comma in object", `{"a":1,}`, `:1:8: not JSON: expected a key`},
	{"missing comma", `{"a":1 "b":2}`, `:1:8: not JSON: expected ',' or '}', found '"'`},
	{"missing colon", `{"a" 1}`, `:1:6: not JSON: expected ':' after key "a"`},
	{"two objects", good + ` {}`, `:1:87: '{' after the end of the line's value`},
	{"trailing text", good + `x`, `:1:86: 'x' after the end`},
	{"byte order mark", "\ufeff" + good, `:1:1: the file begins with a byte order mark`},
	{"UTF-16", "\xff\xfe{\x00", `:1:1: byte 0xff is not UTF-8`},
	{"invalid UTF-8", `{"messages":[{"role":"user","content":"caf` + "\xe9" + `"}]}`, `:1:43: byte 0xe9 is not UTF-8`},
	{"surrogate in UTF-8", "{\"\xed\xa0\x80\":1}", `:1:3: byte 0xed is not UTF-8`},
	{"control character", "{\"messages\":[{\"role\":\"us\ter\"}]}", `:1:25: not JSON: control character 0x09 in a string`},
	{"bad escape", `{"a":"\x41"}`, `:1:7: not JSON: \x is no escape`},
	{"short escape", `{"a":"\u12"}`, `:1:7: not JSON: \u without four hexadecimal digits`},
	{"high surrogate alone", `{"a":"\ud83dx"}`, `:1:7: half a surrogate pair, \ud83d, is no character`},
	{"low surrogate alone", `{"a":"\ude00"}`, `:1:7: half a surrogate pair`},
	{"surrogates swapped", `{"a":"\ude00\ud83d"}`, `:1:7: half a surrogate pair`},
	{"key twice", `{"messages":[],"messages":[]}`, `:1:16: key "messages" occurs twice`},
	{"key twice in a message", `{"messages":[{"role":"user","role":"user"}]}`, `:1:29: key "role" occurs twice`},
	{"key twice deep inside", `{"x":[{"y":{"z":1,"z":2}}]}`, `:1:19: key "z" occurs twice`},
	{"key twice, once escaped", `{"a":1,"\u0061":2}`, `:1:8: key "a" occurs twice`},
	{"leading zero", `{"a":01}`, `:1:6: not JSON: a number that begins with`},
	{"number without digits", `{"a":-}`, `:1:6: not JSON: a number`},
	{"number with a bare point", `{"a":1.}`, `:1:6: not JSON: a number`},
	{"number with a bare exponent", `{"a":1e}`, `:1:6: not JSON: a number`},
	{"NaN", `{"a":NaN}`, `:1:6: not JSON: expected a value, found 'N'`},
	{"too deep", `{"a":` + strings.Repeat("[", 10000), `:1:70: values nest deeper than 64`},
	{"no messages", `{"prompt":"x"}`, `:1:1: no "messages"`},
	{"messages is an object", `{"messages":{}}`, `:1:13: "messages" is an object, not an array`},
	{"messages is null", `{"messages":null}`, `:1:13: "messages" is null, not an array`},
	{"messages is empty", `{"messages":[]}`, `:1:13: "messages" is empty`},
	{"message is text", `{"messages":["Hi"]}`, `:1:14: messages[0] is "Hi", not an object`},
	{"no role", `{"messages":[{"content":"Hi"}]}`, `:1:14: messages[0].role is missing`},
	{"no content", `{"messages":[{"role":"user"}]}`, `:1:14: messages[0].content is missing`},
	{"unknown role", `{"messages":[{"role":"bot","content":"Hi"}]}`, `:1:22: messages[0].role: unknown role "bot"`},
	{"role in capitals", `{"messages":[{"role":"User","content":"Hi"}]}`, `:1:22: messages[0].role: unknown role "User"`},
	{"role is a number", `{"messages":[{"role":1,"content":"Hi"}]}`, `:1:22: messages[0].role is 1, not a string`},
	{"role is empty", `{"messages":[{"role":"","content":"Hi"}]}`, `:1:22: messages[0].role is empty`},
	{"content is empty", `{"messages":[{"role":"user","content":""}]}`, `:1:39: messages[0].content is empty`},
	{"content is white space", `{"messages":[{"role":"user","content":" \n\u00a0"}]}`, `:1:39: messages[0].content holds nothing but white space: " \n\u00a0"`},
	{"content is null", `{"messages":[{"role":"user","content":null}]}`, `:1:39: messages[0].content is null, not a string`},
	{"content is in parts", `{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]}`, `:1:39: messages[0].content is an array, not a string`},
	{"assistant first", `{"messages":[{"role":"assistant","content":"Hi"}]}`, `:1:14: messages[0]: an answer that follows nothing`},
	{"answer to system", `{"messages":[{"role":"system","content":"s"},{"role":"assistant","content":"Hi"}]}`, `:1:46: messages[1]: an answer that follows role system`},
	{"two answers", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":"c"}]}`, `:1:79: messages[2]: an answer that follows role assistant`},
	{"two questions", `{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}`, `:1:44: messages[1]: role user follows user`},
	{"system later", `{"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}]}`, `:1:44: messages[1]: a system message that is not the first`},
	{"two systems", `{"messages":[{"role":"system","content":"a"},{"role":"system","content":"b"}]}`, `:1:46: messages[1]: a system message that is not the first`},
	{"no answer", `{"messages":[{"role":"user","content":"a"}]}`, `:1:14: messages[0]: the record ends with role "user": there is no answer to learn`},
	{"system alone", `{"messages":[{"role":"system","content":"a"}]}`, `:1:14: messages[0]: the record ends with role "system"`},
	{"unknown kind", strings.TrimSuffix(good, "}") + `,"kind":"refuse"}`, `:1:93: "kind" is "refuse"`},
	{"kind is a list", strings.TrimSuffix(good, "}") + `,"kind":["refusal"]}`, `:1:93: "kind" is an array`},
	{"id is null", strings.TrimSuffix(good, "}") + `,"id":null}`, `:1:91: "id" is null, not a string or number`},
	{"id is empty", strings.TrimSuffix(good, "}") + `,"id":""}`, `:1:91: "id" is empty`},
}

func TestReadRecordsNamesThePlaceAndTheValue(t *testing.T) {
	for _, test := range badLines {
		t.Run(test.name, func(t *testing.T) {
			records, err := ReadRecords(strings.NewReader(test.line), "data.jsonl", 2)
			if err == nil || records != nil {
				t.Fatalf("accepted: %v", records)
			}
			var list problem.List
			if !errors.As(err, &list) || len(list) != 1 {
				t.Errorf("got %v, want one problem", err)
			}
			if !strings.HasPrefix(err.Error(), "data.jsonl"+test.want) {
				t.Errorf("got %v, want %q", err, "data.jsonl"+test.want)
			}
		})
	}
}

func TestAllBadLinesAreListed(t *testing.T) {
	var text strings.Builder
	for _, test := range badLines {
		line := strings.TrimPrefix(test.line, "\ufeff")
		if len(line) < 1000 && line != good {
			text.WriteString(line + "\n" + good + "\n\n")
		}
	}
	_, err := ReadRecords(strings.NewReader(text.String()), "data.jsonl", 2)
	if err == nil {
		t.Fatal("accepted")
	}
	golden.Compare(t, "bad_records.txt", []byte(err.Error()+"\n"))
}

func TestLongListsOfProblemsAreCut(t *testing.T) {
	_, err := ReadRecords(strings.NewReader(strings.Repeat("{}\n", 250)), "data.jsonl", 2)
	var list problem.List
	if !errors.As(err, &list) || len(list) != maxProblems+1 {
		t.Fatalf("got %d problems", len(list))
	}
	if got, want := list[maxProblems].Error(), "data.jsonl:101:1: and 150 more problems from here on"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLineThatIsTooLongIsOneProblem(t *testing.T) {
	long := `{"x":"` + strings.Repeat("y", maxLine) + `"}`
	_, err := ReadRecords(strings.NewReader(good+"\n"+long+"\n"+good+"\n{}\n"), "data.jsonl", 2)
	var list problem.List
	if !errors.As(err, &list) || len(list) != 2 || list[0].Line != 2 || list[1].Line != 4 {
		t.Fatalf("got %.500v", err)
	}
	if !strings.Contains(err.Error(), "line longer than 8388608 bytes") || len(err.Error()) > 1000 {
		t.Errorf("got %.1000v", err)
	}
	just := `{"x":"` + strings.Repeat("y", maxLine-len(good)-len(`{"x":"",`)+1) + `",` + good[1:]
	if len(just) != maxLine {
		t.Fatalf("the longest line has %d bytes", len(just))
	}
	read(t, just+"\r\n")
}

func TestFileWithoutRecordsIsAProblem(t *testing.T) {
	for _, text := range []string{"", "\n\n", " "} {
		if _, err := ReadRecords(strings.NewReader(text), "data.jsonl", 2); err == nil || !strings.HasPrefix(err.Error(), "data.jsonl: no records") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestReadErrorIsReported(t *testing.T) {
	broken := errors.New("disk on fire")
	r := io.MultiReader(strings.NewReader(good+"\n{"), iotest.ErrReader(broken))
	if _, err := ReadRecords(r, "data.jsonl", 2); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "data.jsonl:2: ") {
		t.Errorf("got %v", err)
	}
}

func TestCanonicalFormKeepsKeysNumbersAndTexts(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"spaces go", "\t{ \"messages\" : [ { \"role\" : \"user\", \"content\" : \"a  b\" } , {\"role\":\"assistant\",\"content\":\"c\"} ] }\r",
			`{"messages":[{"role":"user","content":"a  b"},{"role":"assistant","content":"c"}]}`},
		{"order and extra keys stay", `{"z":[1,{"b":0,"a":null}],"messages":[{"content":"a","x":true,"role":"user"},{"role":"assistant","content":"c"}],"a":{}}`, ""},
		{"numbers stay as spelled", `{"n":[1.0,1e5,1E+05,-0,-0.0,123456789012345678901234567890],` + good[1:], ""},
		{"escapes that are not needed go", `{"k":"\u00e9\/\u003c\u003e\u0026\u2028\u007f\ud83d\ude00",` + good[1:], `{"k":"é/<>&` + "\u2028\x7f" + `😀",` + good[1:]},
		{"escapes that are needed stay", `{"k\"":"\"\\\b\f\n\r\t\u0000\u001F",` + good[1:], `{"k\"":"\"\\\b\f\n\r\t\u0000\u001f",` + good[1:]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.want == "" {
				test.want = test.line
			}
			records := read(t, test.line)
			if got := string(records[0].MarshalLine()); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestMarshalLineTakesNewContents(t *testing.T) {
	r := read(t, `{"messages":[{"role":"user","content":"a","w":1},{"content":"b","role":"assistant","w":2}],"x":1}`)[0]
	before := string(r.MarshalLine())
	edited := r
	edited.Messages = slices.Clone(r.Messages)
	edited.Messages[1].Content = "\"new\"\n\xff"
	want := `{"messages":[{"role":"user","content":"a","w":1},{"content":"\"new\"\n` + "\ufffd" + `","role":"assistant","w":2}],"x":1}`
	if got := string(edited.MarshalLine()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(r.MarshalLine()); got != before {
		t.Errorf("the record that was copied became %s", got)
	}
}

func TestMarshalLineOfARecordThatWasNotRead(t *testing.T) {
	r := Record{Kind: Answer, Messages: []Message{{User, "a"}, {Assistant, "b"}}}
	want := `{"kind":"answer","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`
	if got := string(r.MarshalLine()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReadPrompts(t *testing.T) {
	prompts, err := ReadPrompts(strings.NewReader(`{"prompt":"Hi","n":1.50}`+"\n\n"+`{"answer":"old", "system":"Be terse.","prompt":"Why?"}`), "p.jsonl")
	if err != nil || len(prompts) != 2 {
		t.Fatalf("got %v, %v", prompts, err)
	}
	if got := prompts[0].Messages(); !slices.Equal(got, []Message{{User, "Hi"}}) {
		t.Errorf("got %v", got)
	}
	if got := prompts[1].Messages(); !slices.Equal(got, []Message{{System, "Be terse."}, {User, "Why?"}}) || prompts[1].Line != 3 {
		t.Errorf("got %v at %d", got, prompts[1].Line)
	}
	if got, want := string(prompts[0].MarshalAnswer("<b>\n")), `{"prompt":"Hi","n":1.50,"answer":"<b>\n"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for range 2 { // the first must not change what the second starts from
		if got, want := string(prompts[1].MarshalAnswer("new")), `{"answer":"new","system":"Be terse.","prompt":"Why?"}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestReadPromptsRefuses(t *testing.T) {
	text := `{"prompt":""}` + "\n" + `{"system":"x"}` + "\n" + `{"prompt":"x","system":7}` + "\n" + `["x"]` + "\n" + `{"prompt":"x","prompt":"y"}` + "\n" + `{"prompt":"x","system":" "}`
	_, err := ReadPrompts(strings.NewReader(text), "p.jsonl")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"p.jsonl:1:11: prompt is empty", "p.jsonl:2:1: prompt is missing", "p.jsonl:3:24: system is 7, not a string",
		"p.jsonl:4:1: the line holds an array", `p.jsonl:5:15: key "prompt" occurs twice`, "p.jsonl:6:24: system holds nothing but white space",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := ReadPrompts(strings.NewReader("\n"), "p.jsonl"); err == nil || !strings.Contains(err.Error(), "no prompts") {
		t.Errorf("empty file: got %v", err)
	}
}

func FuzzRecords(f *testing.F) {
	seeds, err := os.ReadFile("testdata/records.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seeds)
	for _, line := range bytes.Split(seeds, []byte("\n")) {
		f.Add(line)
	}
	for _, test := range badLines {
		f.Add([]byte(test.line))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := ReadRecords(bytes.NewReader(data), "fuzz.jsonl", 2)
		if err != nil {
			if records != nil {
				t.Error("records came with the error")
			}
			var list problem.List
			if !errors.As(err, &list) {
				t.Errorf("%T: %v", err, err)
			}
			for _, p := range list {
				if p.Message != "no records" && (p.Line < 1 || p.Col < 1 || p.Line > bytes.Count(data, []byte("\n"))+1 || p.Message == "") {
					t.Errorf("no place: %+v", p)
				}
			}
			return
		}
		var canonical []byte
		for _, r := range records {
			canonical = append(r.AppendJSON(canonical), '\n')
		}
		again, err := ReadRecords(bytes.NewReader(canonical), "canonical.jsonl", 2)
		if err != nil || len(again) != len(records) {
			t.Fatalf("the canonical form cannot be read: %v\n%s", err, canonical)
		}
		var twice []byte
		for i, r := range again {
			if r.ID != records[i].ID || r.Kind != records[i].Kind || !slices.Equal(r.Messages, records[i].Messages) {
				t.Errorf("%+v became %+v", records[i], r)
			}
			twice = append(r.AppendJSON(twice), '\n')
		}
		if !bytes.Equal(canonical, twice) {
			t.Errorf("not idempotent:\n%s\n%s", canonical, twice)
		}
	})
}

func BenchmarkReadRecords(b *testing.B) {
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, `{"id":%d,"messages":[{"role":"system","content":"You are terse."},{"role":"user","content":"What is the capital of country number %d?\nThink."},{"role":"assistant","content":"%s"}]}`+"\n", i, i, strings.Repeat("It is a town. ", 20))
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadRecords(strings.NewReader(text.String()), "x", 2); err != nil {
			b.Fatal(err)
		}
	}
}
