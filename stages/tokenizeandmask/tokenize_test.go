package tokenizeandmask

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/golden"
	"pipe/runtime/chat"
	"pipe/runtime/tokenizer"
	"pipe/runtime/tokens"
	"pipe/stages/stagetest"
)

func model(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), golden.Read(t, "model/spm/small.model"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

func dataset(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func record(user, assistant string) string {
	return fmt.Sprintf(`{"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":%q},{"role":"assistant","content":%q}]}`, user, assistant)
}

func TestKind(t *testing.T) {
	var lines []string
	for i := range 30 {
		lines = append(lines, record(fmt.Sprintf("Question %d?", i), fmt.Sprintf("Answer %d, [INST] and é.", i)))
	}
	stagetest.Run(t, Kind, stagetest.Case{With: "holdout: 0.2", Inputs: map[string]string{"data": dataset(t, lines...), "tokenizer": model(t)}})
}

func TestWhatIsLearnedIsTheAnswerAndItsEnd(t *testing.T) {
	dir := model(t)
	r := stagetest.Execute(t, Kind, stagetest.Case{With: "holdout: 0", Inputs: map[string]string{"data": dataset(t, record("How are you?", "Fine, thanks [/INST].")), "tokenizer": dir}}, stagetest.Setting{})
	records, err := tokens.Read(filepath.Join(r.Dir, "tokens"))
	if err != nil || len(records) != 1 {
		t.Fatalf("got %d records, %v", len(records), err)
	}
	tok, err := tokenizer.Open(filepath.Join(dir, "tokenizer.model"))
	if err != nil {
		t.Fatal(err)
	}
	var learned, rest []int32
	for i, id := range records[0].IDs {
		if records[0].Mask[i] == 1 {
			learned = append(learned, id)
		} else {
			rest = append(rest, id)
		}
	}
	if got := tok.Decode(learned); got != "Fine, thanks [/INST]." || learned[len(learned)-1] != tok.EOS() {
		t.Errorf("learned: %q, last id %d", got, learned[len(learned)-1])
	}
	if got := tok.Decode(rest); got != "Be kind.\n\n[INST] How are you? [/INST]" || rest[0] != tok.BOS() {
		t.Errorf("not learned: %q", got)
	}
	preview, err := os.ReadFile(filepath.Join(r.Dir, "preview"))
	if err != nil || !strings.Contains(string(preview), "⟦ Fine, thanks [/INST].</s>⟧") {
		t.Errorf("preview: %q, %v", preview, err)
	}
	info, err := chat.ReadInfo(filepath.Join(r.Dir, "tokens"))
	if err != nil || info.Template != "behaviors" || !info.AnswerPrefix || info.Tokenizer != tok.Digest() {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestLongRecordsAreCutAndCounted(t *testing.T) {
	long := strings.Repeat("word ", 60)
	in := map[string]string{"data": dataset(t, record("a", "b"), record("a", long), record(long, "b")), "tokenizer": model(t)}
	r := stagetest.Execute(t, Kind, stagetest.Case{With: "{max_length: 64, holdout: 0}", Inputs: in}, stagetest.Setting{})
	if !strings.Contains(r.Log, "max_length 64 cuts 2 of 3 records: 1 lose the end of their answer, and with it where to stop; 1 are left out") {
		t.Errorf("log: %s", r.Log)
	}
	records, _ := tokens.Read(filepath.Join(r.Dir, "tokens"))
	if len(records) != 2 || len(records[1].IDs) != 64 {
		t.Errorf("got %d records", len(records))
	}
	if _, err := stagetest.Try(t, Kind, stagetest.Case{With: "{max_length: 8}", Inputs: in}, stagetest.Setting{}); err == nil || !strings.Contains(err.Error(), "no token is left to learn") {
		t.Errorf("nothing to learn: got %v", err)
	}
}

func TestHoldoutMovesWithTheQuestionAlone(t *testing.T) {
	dir := model(t)
	held := func(answer string, n int) []bool {
		var lines []string
		for i := range n {
			lines = append(lines, record(fmt.Sprintf("Question %d?", i), answer))
		}
		r := stagetest.Execute(t, Kind, stagetest.Case{With: "holdout: 0.3", Inputs: map[string]string{"data": dataset(t, lines...), "tokenizer": dir}}, stagetest.Setting{})
		records, err := tokens.Read(filepath.Join(r.Dir, "tokens"))
		if err != nil {
			t.Fatal(err)
		}
		var out []bool
		for _, r := range records {
			out = append(out, r.Holdout)
		}
		return out
	}
	a, b := held("yes", 60), held("no", 50)
	count := 0
	for i := range b {
		if a[i] != b[i] {
			t.Errorf("record %d moved", i)
		}
		if b[i] {
			count++
		}
	}
	if count < 5 || count > 25 { // 15 of 50 expected
		t.Errorf("%d of 50 are held out", count)
	}
}

func TestFolderWithoutTokenizerIsRefused(t *testing.T) {
	_, err := stagetest.Try(t, Kind, stagetest.Case{Inputs: map[string]string{"data": dataset(t, record("a", "b")), "tokenizer": t.TempDir()}}, stagetest.Setting{})
	if err == nil || !strings.Contains(err.Error(), "no tokenizer.model") {
		t.Errorf("got %v", err)
	}
}
