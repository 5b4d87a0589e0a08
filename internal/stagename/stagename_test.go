package stagename

import (
	"reflect"
	"strings"
	"testing"

	"pipe/internal/document"
)

func TestValue(t *testing.T) {
	for text, want := range map[string]string{
		"1e-3": "0.001", "0.001": "0.001", "5e-5": "5e-05", "1.0": "1", "-0": "0", "true": "true", "nf4": "nf4", "v1.2-rc+3": "v1.2-rc+3",
		"../data/a.jsonl": "a.jsonl~", "a b": "b~", "é": "~", "a,b]": "~",
		strings.Repeat("x", 41): strings.Repeat("x", 20) + "~",
	} {
		got := Value(document.Scalar(text))
		if tail, hashed := strings.CutSuffix(want, "~"); hashed && strings.HasPrefix(got, want) && len(got) == len(tail)+13 {
			continue
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestLongNamesAreHashed(t *testing.T) {
	var variables, values []string
	for range 10 {
		variables, values = append(variables, "variable"), append(values, "some-value")
	}
	got := Name("s", Values(variables, values))
	if len(got) != len("s[~0123456789abcdef]") || !strings.HasPrefix(got, "s[~") {
		t.Errorf("got %s", got)
	}
	for selector, want := range map[string]bool{got: true, "s": true, "s[*]": true, "s[variable=some-value]": false, "s[~0]": false} {
		if s, err := Parse(selector); err != nil || s.Matches(got) != want {
			t.Errorf("%s: matches %v (%v), want %v", selector, !want, err, want)
		}
	}
}

func TestAllValuesChooseANameThatIsAHash(t *testing.T) {
	long := strings.Repeat("v", 40)
	name := Name("s", Values([]string{"a", "b", "c", "d"}, []string{long, long, long, "0.001"}))
	all := "s[d=1e-3,a=" + long + ",b=" + long + ",c=" + long + "]"
	for selector, want := range map[string]bool{all: true, "s[a=" + long + "]": false, strings.Replace(all, "1e-3", "2", 1): false} {
		if s, err := Parse(selector); err != nil || s.Matches(name) != want {
			t.Errorf("%s: matches %v (%v), want %v", selector, !want, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		selector string
		want     bool
	}{
		{"a", true}, {"a[*]", true}, {"a[x=0.001]", true}, {"a[x=1e-3]", true}, {"a[y=b,x=1e-3]", true}, {"a[x=*]", true}, {"a[x=0.001,y=b]", true}, {"a[ y=b ]", true},
		{"b", false}, {"a[x=2]", false}, {"a[z=1]", false}, {"a[y=b,x=2]", false}, {"a[y=*b]", false},
	} {
		s, err := Parse(c.selector)
		if err != nil || s.Matches("a[x=0.001,y=b]") != c.want {
			t.Errorf("%s: %v, want %v", c.selector, err, c.want)
		}
	}
	if s, _ := Parse("a[*]"); s.Matches("a") {
		t.Error("a stage without a matrix is gathered")
	}
}

func TestSplits(t *testing.T) {
	for text, want := range map[string][3]string{
		"a.b": {"a", "b", "y"}, "a[x=0.1].b": {"a[x=0.1]", "b", "y"}, "a": {"a", "", ""}, "a[x=0.1]": {"a[x=0.1]", "", ""}, "a[x=0.1]b": {"a[x=0.1]", "b", ""},
	} {
		stage, output, ok := SplitOutput(text)
		if stage != want[0] || output != want[1] || ok != (want[2] == "y") {
			t.Errorf("%s: got %q %q %v", text, stage, output, ok)
		}
	}
	if got, want := SplitList("a,b[x=1,y=2],c"), []string{"a", "b[x=1,y=2]", "c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzParse reads any selector, and makes names of any values that their own selectors
// choose.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a", "a[*]", "a[x=1,y=*]", "a[~0f]", "a[", "a[]]", "a[x]"} {
		f.Add(s, "1e-3")
	}
	f.Fuzz(func(t *testing.T, selector, text string) {
		if s, err := Parse(selector); err == nil {
			s.Matches("a[x=1]")
		}
		value := Value(document.Scalar(text))
		name := Name("stage", Values([]string{"x"}, []string{value}))
		s, err := Parse("stage[x=" + value + "]")
		if err != nil || !s.Matches(name) {
			t.Fatalf("%q: %v", name, err)
		}
		if stage, output, ok := SplitOutput(name + ".out"); stage != name || output != "out" || !ok {
			t.Fatalf("%q: got %q %q", name, stage, output)
		}
	})
}
