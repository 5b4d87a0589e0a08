package problem

import (
	"strings"
	"testing"
)

func TestErrorShowsPlaceExcerptAndHint(t *testing.T) {
	p := At("a.yaml", 3, 7, "unknown parameter %q", "lrr").WithHint("did you mean %q?", "lr")
	p.Source = "\twith: lrr: 1"
	want := "a.yaml:3:7: unknown parameter \"lrr\"\n    3 | \twith: lrr: 1\n      | \t     ^\n    hint: did you mean \"lr\"?"
	if got := p.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestErrorOfBinaryFileNamesTheByte(t *testing.T) {
	if got, want := AtByte("m.safetensors", 8, "no header").Error(), "m.safetensors: byte 8: no header"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExcerptStaysNarrowAndPrintable(t *testing.T) {
	p := At("a", 1, 5001, "x")
	p.Source = strings.Repeat("é", 2500) + "\x1b[2J" + strings.Repeat("z", 2500)
	for _, line := range strings.Split(p.Error(), "\n") {
		if len([]rune(line)) > 120 {
			t.Errorf("line of %d characters", len([]rune(line)))
		}
		if strings.Contains(line, "\x1b") {
			t.Error("an escape character reached the terminal")
		}
	}
}

func TestListSortsByPlace(t *testing.T) {
	list := List{At("b", 1, 1, "third"), At("a", 2, 1, "second"), At("a", 1, 9, "first")}
	got := list.Err().Error()
	if want := "a:1:9: first\na:2:1: second\nb:1:1: third"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if List(nil).Err() != nil {
		t.Error("an empty list is an error")
	}
}
