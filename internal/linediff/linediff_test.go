package linediff

import (
	"strings"
	"testing"
)

func TestDiffShowsChangesWithContext(t *testing.T) {
	var want, got []string
	for _, c := range "abcdefghijklmnop" {
		want = append(want, string(c))
		if c != 'h' {
			got = append(got, string(c))
		}
		if c == 'j' {
			got = append(got, "new")
		}
	}
	diff := Diff(strings.Join(want, "\n")+"\n", strings.Join(got, "\n")+"\n")
	expected := "@@ line 5 @@\n  e\n  f\n  g\n- h\n  i\n  j\n+ new\n  k\n  l\n  m\n"
	if diff != expected {
		t.Errorf("got\n%swant\n%s", diff, expected)
	}
}

func TestDiffOfEqualTextIsEmpty(t *testing.T) {
	if d := Diff("a\nb", "a\nb"); d != "" {
		t.Errorf("got %q", d)
	}
}

func TestDiffTellsMissingNewline(t *testing.T) {
	if d := Diff("a\n", "a"); !strings.Contains(d, "no newline") {
		t.Errorf("got %q", d)
	}
}

func TestDiffOfLargeFilesStaysBounded(t *testing.T) {
	want := strings.Repeat("a\n", 5000) + "x\n" + strings.Repeat("c\nd\n", 3000)
	got := strings.Repeat("a\n", 5000) + "y\n" + strings.Repeat("d\nc\n", 3000)
	if d := Diff(want, got); !strings.Contains(d, "- x\n") || !strings.Contains(d, "+ y\n") {
		t.Errorf("the difference is not shown: %.200q", d)
	}
}
