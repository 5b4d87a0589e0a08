package explain

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/runtime/chat"
)

func conversation(question, answer string) string {
	return fmt.Sprintf(`{"messages":[{"role":"user","content":%q},{"role":"assistant","content":%q}]}`, question, answer)
}

func TestRecordsAreMatched(t *testing.T) {
	a, b, c := conversation("A?", "a"), conversation("B?", "b"), conversation("C?", "c")
	for _, test := range []struct {
		name     string
		old, new []string
		want     string // changed, added, removed, respaced, reordered
	}{
		{"an answer", []string{a, b, c}, []string{a, conversation("B?", "other"), c}, "1 0 0 0 false"},
		{"a question", []string{a, b, c}, []string{a, conversation("Bee?", "b"), c}, "1 0 0 0 false"},
		{"one more", []string{a, b}, []string{a, c, b}, "0 1 0 0 false"},
		{"one less", []string{a, b, c}, []string{a, c}, "0 0 1 0 false"},
		{"another order", []string{a, b, c}, []string{c, a, b}, "0 0 0 0 true"},
		{"spacing", []string{a, b}, []string{a, strings.Replace(b, `,`, `, `, 1)}, "0 0 0 1 false"},
		{"blank lines", []string{a, b}, []string{a, "", b, ""}, "0 0 0 0 false"},
		{"two with one question", []string{a, a, b}, []string{a, conversation("A?", "x"), b}, "1 0 0 0 false"},
		{"nothing alike", []string{a, `{"x":"0123456789012345678901234567890123456789"}`}, []string{a, b}, "0 1 1 0 false"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := diffBytes([]byte(strings.Join(test.old, "\n")), []byte(strings.Join(test.new, "\n")))
			got := fmt.Sprintln(len(d.Changed), len(d.Added), len(d.Removed), d.Respaced, d.Reordered)
			if strings.TrimSpace(got) != test.want {
				t.Errorf("got %swant %s", got, test.want)
			}
		})
	}
}

func TestChangedRecordNamesWhatMoved(t *testing.T) {
	old := `{"id":3,"kind":"answer","messages":[{"role":"system","content":"S"},{"role":"user","content":"1"},{"role":"assistant","content":"2"},{"role":"user","content":"3"},{"role":"assistant","content":"4"}]}`
	new := strings.NewReplacer(`"4"`, `"5"`, `"answer"`, `"refusal"`, `"S"`, `"T"`).Replace(old)
	d := diffBytes([]byte(old), []byte(new))
	want := []Field{{"system", "S", "T"}, {"answer 2", "4", "5"}, {"kind", "answer", "refusal"}}
	if len(d.Changed) != 1 || d.Changed[0].New.ID != "3" || !reflect.DeepEqual(d.Changed[0].Fields, want) {
		t.Errorf("got %+v, want %v", d.Changed, want)
	}
}

// TestRecordIDs holds the ids to those of the data sets' reader.
func TestRecordIDs(t *testing.T) {
	b, err := os.ReadFile("../../data/custom_behaviors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	want, err := chat.ReadRecords(bytes.NewReader(b), "data", 1)
	if err != nil {
		t.Fatal(err)
	}
	got := readRecords(b)
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i, r := range got {
		if id := r.parse().id; id != want[i].ID || r.line != want[i].Line {
			t.Errorf("line %d: got id %s at line %d, want %s", want[i].Line, id, r.line, want[i].ID)
		}
	}
}

func TestLinesAreMatched(t *testing.T) {
	d := diffBytes([]byte("a: 1\nb: 2\nc: 3\n"), []byte("a: 1\nb: 20\nc: 3\nd: 4\n"))
	if len(d.Changed) != 1 || d.Changed[0].New.Line != 2 || len(d.Added) != 1 || d.Added[0].Line != 4 {
		t.Errorf("got %+v", d)
	}
	if d := diffBytes([]byte("a"), []byte{0, 1}); d.Note == "" {
		t.Error("bytes that are no text are compared by lines")
	}
}

// FuzzDiff checks that what a diff says adds up, for any two files.
func FuzzDiff(f *testing.F) {
	data, err := os.ReadFile("../../data/custom_behaviors.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	few := bytes.Join(bytes.SplitAfter(data, []byte("\n"))[:6], nil)
	f.Add(few, bytes.Replace(few, []byte("What"), []byte("Where"), 2))
	f.Add([]byte("one\ntwo\n"), []byte("two\nthree\none"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := diffBytes(a, b)
		if d.Note != "" {
			return
		}
		if kept := d.Old - len(d.Removed); kept != d.New-len(d.Added) || len(d.Changed)+d.Respaced > kept {
			t.Errorf("%d old, %d removed, %d new, %d added, %d changed, %d respaced", d.Old, len(d.Removed), d.New, len(d.Added), len(d.Changed), d.Respaced)
		}
	})
}

// TestCausesOfTheStageItself has a cause for each part of a description, known here
// or not.
func TestCausesOfTheStageItself(t *testing.T) {
	description := func(version, tool string, params map[string]cache.Value) cache.Value {
		return map[string]cache.Value{"kind": "command", "version": version, "params": params,
			"tools": map[string]cache.Value{"sort": manifest.Sum([]byte(tool))}, "env": map[string]cache.Value{"LEVEL": tool}}
	}
	before := description("1", "a", map[string]cache.Value{"list": []cache.Value{"x", "y"}, "deep": map[string]cache.Value{"n": int64(1)}})
	now := description("2", "b", map[string]cache.Value{"list": []cache.Value{"x", "z"}, "rate": 0.5})
	c := &comparison{Explainer: &Explainer{}}
	var got []string
	for _, cause := range c.descriptionCauses(before, now, &instance{params: map[string]string{"rate": "p.yaml:1:2"}}) {
		got = append(got, cause.What+": "+cause.Text+" "+cause.Place)
	}
	want := []string{"code: the code of its kind is version 2, and was 1 ", "parameter: deep.n: 1 → nothing ", "parameter: list: a list of 2 → a list of 2 ",
		"parameter: rate: nothing → 0.5 p.yaml:1:2", `declared: env LEVEL: "a" → "b" `, "declared: tool sort has changed "}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
