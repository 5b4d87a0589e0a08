package chat

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/runtime/tokenizer"
)

func load(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(golden.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func template(t testing.TB, name string, o Options) Template {
	t.Helper()
	tmpl, err := NewTemplate(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

type goldenIDs struct {
	IDs  []int32
	Mask []uint8
}

// byteList is a list of numbers in JSON, which []uint8 is not.
type byteList []uint8

func (l *byteList) UnmarshalJSON(data []byte) error {
	var numbers []int
	if err := json.Unmarshal(data, &numbers); err != nil {
		return err
	}
	for _, n := range numbers {
		*l = append(*l, uint8(n))
	}
	return nil
}

func (g *goldenIDs) UnmarshalJSON(data []byte) error {
	var raw struct {
		IDs  []int32
		Mask byteList
	}
	err := json.Unmarshal(data, &raw)
	g.IDs, g.Mask = raw.IDs, raw.Mask
	return err
}

// goldenConversations calls check for each line of chat_template_v1.jsonl.
func goldenConversations(t testing.TB, check func(messages []Message, want map[string]goldenIDs)) {
	t.Helper()
	for _, line := range golden.Lines(t, "tokenizer/chat_template_v1.jsonl") {
		var c struct {
			Messages []Message
			Split    goldenIDs `json:"project_split"`
			Dummy    goldenIDs `json:"project_split_dummy"`
			Mistral  goldenIDs `json:"mistral_common_v1"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		check(c.Messages, map[string]goldenIDs{"project_split": c.Split, "project_split_dummy": c.Dummy, "mistral_common_v1": c.Mistral})
	}
}

func TestGoldenTemplatesOnTheFirstVocabulary(t *testing.T) {
	tok := load(t, "tokenizer/tokenizer.model.v1")
	templates := map[string]Template{
		"project_split_dummy": template(t, Behaviors, Options{}),
		"project_split":       template(t, Behaviors, Options{NoAnswerPrefix: true}),
		"mistral_common_v1":   template(t, MistralV1, Options{}),
	}
	count := 0
	goldenConversations(t, func(messages []Message, want map[string]goldenIDs) {
		count++
		for field, tmpl := range templates {
			ids, mask, err := tmpl.Encode(tok, messages)
			if err != nil {
				t.Fatalf("%s: %q: %v", field, messages, err)
			}
			if !slices.Equal(ids, want[field].IDs) || !slices.Equal(mask, want[field].Mask) {
				t.Errorf("%s: %q:\ngot  %v\n     %v\nwant %v\n     %v", field, messages, ids, mask, want[field].IDs, want[field].Mask)
			}
		}
	})
	if count == 0 {
		t.Error("no conversation")
	}
}

func TestGoldenCasesOfMistralCommon(t *testing.T) {
	v1, v3 := load(t, "tokenizer/tokenizer.model.v1"), load(t, "tokenizer/tokenizer.model.v3")
	count := 0
	for _, line := range golden.Lines(t, "tokenizer/mistral_common_cases.jsonl") {
		var c struct {
			Source, Tokenizer string
			Messages          []Message
			SystemPrompt      *string `json:"system_prompt"`
			Continue          bool    `json:"continue_final_message"`
			IDs               []int32
			Plain             bool
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		if !c.Plain {
			continue
		}
		count++
		messages := c.Messages
		if c.SystemPrompt != nil {
			messages = append([]Message{{System, *c.SystemPrompt}}, messages...)
		}
		// The plain ids of the second vocabulary are those of the third.
		tok, tmpl := v3, template(t, MistralV3, Options{})
		if c.Tokenizer == "v1" {
			tok, tmpl = v1, template(t, MistralV1, Options{})
		}
		var got []int32
		var err error
		if messages[len(messages)-1].Role == User {
			got, err = tmpl.Prompt(tok, messages)
		} else {
			got, _, err = tmpl.Encode(tok, messages)
			if c.Continue && err == nil {
				got = got[:len(got)-1]
			}
		}
		if err != nil || !slices.Equal(got, c.IDs) {
			t.Errorf("%s, %s: %v\ngot  %v\nwant %v", c.Source, c.Tokenizer, err, got, c.IDs)
		}
	}
	if count == 0 {
		t.Error("no plain case")
	}
}

func TestPromptIDsBeginTheIDsOfTheConversation(t *testing.T) {
	for _, test := range []struct {
		template Template
		model    string
	}{
		{template(t, Behaviors, Options{}), "model/spm/small.model"},
		{template(t, Behaviors, Options{NoAnswerPrefix: true}), "model/spm/small.model"},
		{template(t, MistralV1, Options{}), "model/spm/small.model"},
		{template(t, MistralV3, Options{}), "tokenizer/tokenizer.model.v3"},
	} {
		t.Run(test.template.Name(), func(t *testing.T) {
			tok := load(t, test.model)
			goldenConversations(t, func(messages []Message, _ map[string]goldenIDs) {
				for n := 1; n < len(messages); n++ {
					if messages[n].Role == Assistant {
						checkTurn(t, test.template, tok, messages[:n+1])
					}
				}
			})
		})
	}
}

// checkTurn holds the ids of a conversation to those of its prompt.
func checkTurn(t *testing.T, tmpl Template, tok *tokenizer.Tokenizer, messages []Message) {
	t.Helper()
	last := len(messages) - 1
	prompt, err := tmpl.Prompt(tok, messages[:last])
	if err != nil {
		t.Fatal(err)
	}
	ids, mask, err := tmpl.Encode(tok, messages)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids[:len(prompt)], prompt) || slices.Index(mask[len(prompt):], 0) >= 0 || len(ids) != len(mask) {
		t.Errorf("%q: prompt %v, ids %v, mask %v", messages, prompt, ids, mask)
	}
	if err := CheckBOS(tok, ids); err != nil {
		t.Error(err)
	}
	answer := ids[len(prompt):]
	if answer[len(answer)-1] != tok.EOS() {
		t.Errorf("%q: no EOS at the end", messages)
	}
	want := messages[last].Content
	if tmpl.Name() == MistralV3 {
		want = strings.TrimRight(want, " ")
	}
	if got := tmpl.DecodeAnswer(tok, answer); got != want {
		t.Errorf("answer %q came back as %q", want, got)
	}
	s := tmpl.NewAnswerStream(tok)
	streamed := ""
	for _, id := range answer {
		streamed += s.Push(id)
	}
	if streamed += s.Flush(); streamed != want {
		t.Errorf("answer %q was streamed as %q", want, streamed)
	}
}

func TestContentNeverBecomesAControlPiece(t *testing.T) {
	marks := "<s>[INST]</s>[/INST]<unk>"
	messages := []Message{{System, marks}, {User, marks}, {Assistant, marks}}
	for name, file := range map[string]string{
		Behaviors: "tokenizer/tokenizer.model.v3", MistralV1: "tokenizer/tokenizer.model.v1", MistralV3: "tokenizer/tokenizer.model.v3",
	} {
		t.Run(name, func(t *testing.T) {
			tok := load(t, file)
			ids, _, err := template(t, name, Options{}).Encode(tok, messages)
			if err != nil {
				t.Fatal(err)
			}
			control := 0
			for _, id := range ids {
				if tok.IsControl(id) {
					control++
				}
			}
			want := 2 // BOS and EOS
			if name == MistralV3 {
				want = 4
			}
			if control != want {
				t.Errorf("got %d control pieces, want %d: %v", control, want, ids)
			}
		})
	}
}

func TestTemplatesRefuseWhatIsNoConversation(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	tmpl := template(t, Behaviors, Options{})
	u, a, s := Message{User, "u"}, Message{Assistant, "a"}, Message{System, "s"}
	for _, test := range []struct {
		name     string
		messages []Message
		want     string
	}{
		{"nothing", nil, "does not end with role assistant"},
		{"ends with user", []Message{u, a, u}, "does not end with role assistant"},
		{"answer first", []Message{a}, "messages[0]: an answer that follows nothing"},
		{"two users", []Message{u, u, a}, "messages[1]: role user follows user"},
		{"system later", []Message{u, s, a}, "messages[1]: a system message"},
		{"empty", []Message{u, {Assistant, " \n"}}, "messages[1]: the text of role assistant is empty"},
		{"role", []Message{u, {"tool", "x"}}, `messages[1]: unknown role "tool"`},
	} {
		if _, _, err := tmpl.Encode(tok, test.messages); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := tmpl.Prompt(tok, []Message{u, a}); err == nil || !strings.Contains(err.Error(), "does not end with role user") {
		t.Errorf("prompt: got %v", err)
	}
	if _, err := template(t, MistralV3, Options{}).Prompt(tok, []Message{u}); err == nil || !strings.Contains(err.Error(), "[INST]") {
		t.Errorf("mistral-v3 without its control pieces: got %v", err)
	}
}

func TestNewTemplateRefusesWhatThereIsNot(t *testing.T) {
	if _, err := NewTemplate("chatml", Options{}); err == nil || !strings.Contains(err.Error(), `"chatml": templates are behaviors, mistral-v1, mistral-v3`) {
		t.Errorf("got %v", err)
	}
	if _, err := NewTemplate(MistralV1, Options{NoAnswerPrefix: true}); err == nil {
		t.Error("mistral-v1 without the answer's prefix was accepted")
	}
}

func TestCheckBOS(t *testing.T) {
	tok := load(t, "model/spm/small.model")
	for _, test := range []struct {
		ids  []int32
		want string
	}{
		{[]int32{1, 300, 2}, ""},
		{[]int32{300, 2}, "do not begin with <s> (1)"},
		{nil, "do not begin with <s> (1)"},
		{[]int32{1, 1, 300}, "<s> (1) occurs again as id number 2"},
		{[]int32{1, 300, 2, 1}, "<s> (1) occurs again as id number 4"},
	} {
		err := CheckBOS(tok, test.ids)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %v, want %q", test.ids, err, test.want)
		}
	}
}

func TestLeakedMarks(t *testing.T) {
	if got := LeakedMarks("An answer [in brackets] <b>."); got != nil {
		t.Errorf("got %v", got)
	}
	if got := LeakedMarks("Sure.</s> [INST] more [INST]"); !slices.Equal(got, []string{"[INST]", "</s>"}) {
		t.Errorf("got %v", got)
	}
}

func BenchmarkEncodeConversation(b *testing.B) {
	tok, tmpl := load(b, "model/spm/small.model"), template(b, Behaviors, Options{})
	messages := []Message{{System, "You are terse."}, {User, "What is the capital of France?"}, {Assistant, "The capital of France is Paris."}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := tmpl.Encode(tok, messages); err != nil {
			b.Fatal(err)
		}
	}
}
