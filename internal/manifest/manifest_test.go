package manifest

import (
	"bytes"
	"strings"
	"testing"
)

func TestManifestCannotLeaveItsFolder(t *testing.T) {
	d := Sum(nil).String()
	for _, lines := range []string{
		"- " + d + " 0 ../x\n", "- " + d + " 0 /x\n", "- " + d + " 0 a/../x\n", "- " + d + " 0 ./x\n", "- " + d + " 0 \n", "- " + d + " 0 a//b\n",
		"- " + d + " -1 x\n", "- " + d + " 01 x\n", "- " + d[:63] + " 0 x\n", "- " + strings.ToUpper(d) + " 0 x\n", "l x\n", "d .\n", "d ..\n", "d a/\n",
		"- " + d + " 0 b\n- " + d + " 0 a\n", "- " + d + " 0 a\n- " + d + " 0 a\n", "- " + d + " 0 a\n- " + d + " 0 a/b\n", "d a\nd a/b\n",
		"- " + d + " 0 a\x00b\n", "- " + d + " 0 a", "- " + d + " 0 a\r\n", "x\n", "\n", "- " + d + "  0 a\n",
	} {
		if e, err := Parse([]byte(magic + lines)); err == nil {
			t.Errorf("%q: accepted as %v", lines, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Encode([]Entry{{Path: "a\n\\b", Mode: 'x', Size: 3}, {Path: "d/e", Mode: 'd'}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := Parse(b); err == nil && !bytes.Equal(Encode(entries), b) {
			t.Fatalf("%q has another form", b)
		}
	})
}
