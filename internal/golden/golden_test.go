package golden

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPathPrefersTheCopyInTheRepository(t *testing.T) {
	t.Setenv(Env, "")
	path := Path(t, "nf4/cases.json")
	if want := filepath.Join(Root(t), "internal", "golden", "testdata", "nf4", "cases.json"); path != want {
		t.Errorf("got %s, want %s", path, want)
	}
}

func TestPathPrefersTheGivenFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "x.json"), []byte("{}\n[]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Env, folder)
	if got, want := Path(t, "x.json"), filepath.Join(folder, "x.json"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Lines(t, "x.json"); len(got) != 2 || string(got[1]) != "[]" {
		t.Errorf("got lines %q", got)
	}
}

// recorder stands in for the test that Path skips or fails.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (*recorder) Helper() {}
func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = format
	panic(r)
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = format
	panic(r)
}

func lookFor(t *testing.T, name string) *recorder {
	r := &recorder{TB: t}
	func() {
		defer func() { recover() }()
		Path(r, name)
	}()
	return r
}

func TestMissingGoldenSkipsWithoutAndFailsWithTheGivenFolder(t *testing.T) {
	t.Setenv(Env, "")
	if r := lookFor(t, "no/such.file"); r.skipped == "" || r.failed != "" {
		t.Errorf("without %s: skipped %q, failed %q", Env, r.skipped, r.failed)
	}
	t.Setenv(Env, t.TempDir())
	if r := lookFor(t, "no/such.file"); r.skipped != "" || r.failed == "" {
		t.Errorf("with %s: skipped %q, failed %q", Env, r.skipped, r.failed)
	}
}

func TestCompareUpdatesAndReads(t *testing.T) {
	t.Chdir(t.TempDir())
	*update = true
	Compare(t, "sub/x.txt", []byte("one\n"))
	*update = false
	Compare(t, "sub/x.txt", []byte("one\n"))
}
