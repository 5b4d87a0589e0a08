package pipeline

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pipe/internal/problem"
)

func names(steps []*Step) []string {
	list := make([]string, len(steps))
	for i, s := range steps {
		list[i] = s.Name
	}
	return list
}

const matrixFile = `pipeline: m
params: { levels: [1, 2], out: ../out }
stages:
  gather: { uses: free, in: { all: "${train[*].extra}", level-1: "${train[level=1,seed=*].extra}" }, out: [x] }
  train:
    uses: work
    matrix: { seed: [a, b/c], level: "${params.levels}" }
    in: { data: x.txt }
    with: { level: "${matrix.level}", note: "seed ${matrix.seed}" }
    resources: { cpu: "${matrix.level}" }
    publish: { data: "${params.out}/${matrix.level}-${matrix.seed}.txt" }
  sweep:
    uses: work
    matrix: { level: "${params.levels}" }
    in: { data: "${train[seed=b/c].data}", extra: "${train[seed=*].extra}" }
    with: { level: 7 }
  judge: { uses: work, matrix: { level: [1, 2], seed: [a, b/c] }, in: { data: "${train.data}" }, with: { rate: 1e-3 } }
`

func TestMatrixMakesAStageForEachCombination(t *testing.T) {
	p, err := resolve(t, matrixFile, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(`train[level=1,seed=a] train[level=1,seed=c~3d2bbe0c1d2e] train[level=2,seed=a] train[level=2,seed=c~3d2bbe0c1d2e]`)
	got, err := p.Select("train")
	if err != nil {
		t.Fatal(err)
	}
	want[1], want[3] = got[1].Name, got[3].Name // the hash of b/c
	if !reflect.DeepEqual(names(got), want) || !strings.HasPrefix(want[1], "train[level=1,seed=c~") {
		t.Errorf("got %v, want %v", names(got), want)
	}
	s := got[3]
	if key := s.Params.Key(); key["level"] != int64(2) || s.Resources.CPU != 2 || s.Publish[0].To != "out/2-b/c.txt" {
		t.Errorf("got %v %+v %v", key, s.Resources, s.Publish)
	}
	judges, _ := p.Select("judge")
	for _, s := range judges {
		if from := s.Inputs[0].From; from.Matrix.String() != s.Matrix.String() {
			t.Errorf("%s reads from %s", s.Name, from.Name)
		}
	}
	if judges[0].Params.Value() != judges[1].Params.Value() {
		t.Error("equal parameters are decoded twice")
	}
	sweep := p.Step("sweep[level=2]")
	if got := sweep.Inputs[0].Output(); got != want[3]+".data" {
		t.Errorf("the sweep reads %s", got)
	}
	if in := sweep.Inputs[1]; in.Output() != "train[level=2,seed=*].extra" || !reflect.DeepEqual(names(in.Gathered), want[2:]) {
		t.Errorf("the sweep gathers %s: %v", in.Output(), names(in.Gathered))
	}
	all := p.Step("gather")
	if in := all.Inputs[0]; in.Output() != "train[*].extra" || !reflect.DeepEqual(names(in.Gathered), want) {
		t.Errorf("gathers %s: %v", in.Output(), names(in.Gathered))
	}
	if in := all.Inputs[1]; !reflect.DeepEqual(names(in.Gathered), want[:2]) {
		t.Errorf("gathers %v", names(in.Gathered))
	}
	if len(p.Remarks) != 0 {
		t.Errorf("remarks %v", p.Remarks)
	}
}

func TestSelect(t *testing.T) {
	p, err := resolve(t, matrixFile, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]int{"train": 4, "train[*]": 4, "train[seed=a]": 2, "train[level=1.0]": 2, "train[level=2,seed=b/c]": 1, "train[level=1,seed=a]": 1, "train[level=*]": 4, "gather": 1} {
		if got, err := p.Select(selector); err != nil || len(got) != want {
			t.Errorf("%s: got %v, %v, want %d", selector, names(got), err, want)
		}
	}
	for selector, want := range map[string]string{
		"trian":           `there is no stage "trian"`,
		"train[seed=z]":   "no combination of stage",
		"train[sed=a]":    "no combination of stage",
		"train[seed":      "must end with ]",
		"train[seed]":     "in brackets stand values",
		"gather[*]":       "has no matrix",
		"gather[level=1]": "has no matrix",
	} {
		if got, err := p.Select(selector); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %s", selector, names(got), err, want)
		}
	}
}

func TestMatrixIncludeAndExclude(t *testing.T) {
	p, err := resolve(t, `pipeline: m
stages:
  a:
    uses: work
    matrix: { x: [1, 2], y: [1, 2], exclude: [{ x: 1, y: 2 }], include: [{ x: 9, y: 8 }] }
    in: { data: f }
    with: { level: "${matrix.x}", rate: "${matrix.y}" }
`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(p.Steps), []string{"a[x=1,y=1]", "a[x=2,y=1]", "a[x=2,y=2]", "a[x=9,y=8]"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMatrixMistakes(t *testing.T) {
	stage := "pipeline: m\nstages:\n  t: { uses: work, matrix: { seed: [0, 1], level: [1] }, in: { data: f }, with: { level: \"${matrix.seed}\" } }\n  a: "
	for _, c := range []struct{ name, text, want string }{
		{"no map", "{ uses: work, matrix: [1], in: { data: f } }", `4:28: stage "a": matrix: must be a map from a variable to its values, got a list`},
		{"nothing", "{ uses: work, matrix: {}, in: { data: f } }", `4:28: stage "a": matrix: names no variable`},
		{"empty list", "{ uses: work, matrix: { x: [] }, in: { data: f } }", `4:33: stage "a": matrix: x: has no values`},
		{"no list", "{ uses: work, matrix: { x: 1 }, in: { data: f } }", `4:33: stage "a": matrix: x: must be a list of values, got a whole number 1`},
		{"a map in the list", "{ uses: work, matrix: { x: [1, {b: 1}] }, in: { data: f } }", `4:37: stage "a": matrix: x[1]: must be a string, a number, true or false, got a map`},
		{"twice", "{ uses: work, matrix: { x: [1, 1.0] }, in: { data: f } }", `4:37: stage "a": matrix: x: a number 1.0 stands twice`},
		{"unknown in with", `{ uses: work, matrix: { x: [1] }, in: { data: f }, with: { level: "${matrix.y}" } }`, `4:72: the matrix has no variable "y"`},
		{"without a matrix", `{ uses: work, in: { data: f }, with: { level: "${matrix.y}" } }`, `4:52: ${matrix.y} means nothing here`},
		{"a value that a parameter refuses", `{ uses: work, matrix: { x: [1, a] }, in: { data: f }, with: { level: "${matrix.x}" } }`, `4:37: stage "a": level: must be a whole number, got the string "a"`},
		{"not said which", `{ uses: work, in: { data: "${t.data}" } }`, `4:32: stage "a": in: data: "t" is 2 stages, and it is not said which: level, seed may be any`},
		{"half said", `{ uses: work, in: { data: "${t[seed=0].data}" } }`, `it is not said which: level may be any`},
		{"no such value", `{ uses: work, in: { data: "${t[seed=7,level=1].data}" } }`, `no combination of "t" has seed=7`},
		{"no such variable", `{ uses: work, in: { data: "${t[sed=7].data}" } }`, `the matrix of "t" has no variable "sed"`},
		{"no partner", `{ uses: work, matrix: { seed: [1, 2], level: [1] }, in: { data: "${t.data}" } }`, `"t" has no combination t[level=1,seed=2] for a[level=1,seed=2]`},
		{"gathers no matrix", `{ uses: free, in: { d: "${b[*].data}" }, out: [x] }` + "\n  b: { uses: work, in: { data: f } }", `stage "b" has no matrix: there is nothing to gather`},
		{"one place", `{ uses: work, matrix: { x: [1, 2] }, in: { data: f }, with: { level: "${matrix.x}" }, publish: { data: out.txt } }`, `4:109: stage "a[x=2]": publish: dir/out.txt is also where a[x=1].data goes`},
		{"unknown in exclude", `{ uses: work, matrix: { x: [1, 2], exclude: [{ y: 1 }] }, in: { data: f } }`, `matrix: exclude: there is no variable "y"`},
		{"excludes no values", `{ uses: work, matrix: { x: [1, 2], exclude: [{}] }, in: { data: f } }`, `4:51: stage "a": matrix: exclude: names no variable`},
		{"exclude misspelt", `{ uses: work, matrix: { x: [1, 2], exclud: [{ x: 1 }] }, in: { data: f } }`, `4:41: stage "a": matrix: "exclud" is no name for a variable: it is too near to "exclude"`},
		{"include misspelt", `{ uses: work, matrix: { x: [1, 2], Inculde: [1] }, in: { data: f } }`, `did you mean "include"?`},
		{"a variable chosen twice", `{ uses: work, in: { data: "${t[seed=0,seed=1].data}" } }`, `4:32: stage "a": in: data: "t[seed=0,seed=1]": seed stands twice in the brackets`},
		{"a variable chosen twice, of one", `{ uses: work, in: { data: "${t[level=1,seed=0,level=1].data}" } }`, `level stands twice in the brackets`},
		{"an open bracket", `{ uses: work, in: { data: "${t[seed=0.data}" } }`, `"t[seed=0": what begins with [ must end with ]`},
		{"excludes all", `{ uses: work, matrix: { x: [1], exclude: [{ x: 1 }] }, in: { data: f } }`, `exclude leaves no combination`},
		{"include half", `{ uses: work, matrix: { x: [1], y: [1], include: [{ x: 3 }] }, in: { data: f } }`, `matrix: include: has no value for "y"`},
		{"include again", `{ uses: work, matrix: { x: [1], include: [{ x: 1 }] }, in: { data: f } }`, `matrix: include: x=1 is there already`},
		{"reserved", "{ uses: work, in: { data: f } }\n  matrix: { uses: work }", `5:3: stages: the name "matrix" is reserved`},
		{"a circle", `{ uses: work, matrix: { x: [1, 2] }, in: { data: "${a.data}" }, with: { level: "${matrix.x}" } }`, `stages form a circle: a[x=1] → a[x=1]`},
		{"params cannot depend on it", "{ uses: work, matrix: { x: [1, 2] }, in: { data: f }, with: { note: \"${params.p}\" } }\nparams: { p: \"${matrix.x}\" }", `5:14: ${matrix.x} means nothing here`},
		{"too many", "{ uses: work, matrix: { x: [" + numbers(200) + "], y: [" + numbers(200) + "] }, in: { data: f } }", `makes 40000 stages; a pipeline has at most 20000, and there is room for 19998`},
	} {
		_, err := resolve(t, stage+c.text+"\n", Options{})
		got := fmt.Sprint(err)
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got\n%s\nwant %s", c.name, got, c.want)
		}
		if n := strings.Count(got, "dir/p.yaml:"); n > 2 {
			t.Errorf("%s: told %d times:\n%s", c.name, n, got)
		}
	}
}

// TestMatrixMistakeHidesNoOther has a mistake in a matrix, and others in the rest of its
// stage and in stages that read from it. What depends on the values is not told.
func TestMatrixMistakeHidesNoOther(t *testing.T) {
	const file = `pipeline: m
params: { p: "${params.q}", q: 1 }
stages:
  t:
    uses: work
    matrix: MATRIX
    in: { data: "${nosuch.o}" }
    with: { level: "${matrix.x}", note: "${params.q}${matrix.x}", rate: much }
    timeout: 0s
    resources: { cpu: "${matrix.x}", gpu: -1 }
    publish: { data: "out/${matrix.x}", daat: x }
  u:
    uses: free
    in: { d: "${t[x=7].data}", e: "${t.nosuch}", f: "${t[x=1,x=2].data}" }
    out: [o]
  v: { uses: work, matrix: { x: [1], x1: [] }, in: { data: "${t.data}", extra: 5 }, with: { note: "${matrix.z}" } }
`
	for _, c := range []struct{ matrix, want string }{
		{"{ x: [1, 2], exclude: { x: 1 } }", `6:35: stage "t": matrix: exclude: must be a list of combinations`},
		{"{ x: 1, exclude: [{ y: 1 }] }", `6:18: stage "t": matrix: x: must be a list of values|6:33: stage "t": matrix: exclude: there is no variable "y"`},
		{"[x]", `6:13: stage "t": matrix: must be a map`},
		{"{ x: [1], exclude: [{ x: 1 }] }", `6:13: stage "t": matrix: exclude leaves no combination`},
	} {
		_, err := resolve(t, strings.Replace(file, "MATRIX", c.matrix, 1), Options{})
		var got []string
		for _, p := range err.(problem.List) {
			got = append(got, fmt.Sprintf("%d:%d: %s", p.Line, p.Col, p.Message))
		}
		want := append(strings.Split(c.want, "|"), `7:17: stage "t": in: data: there is no stage "nosuch"`, `8:73: stage "t": rate: must be a number`, `9:14: stage "t": timeout: must be above 0`,
			`10:43: stage "t": resources.gpu: must be at least 0`, `11:41: stage "t": publish: there is no output "daat"`,
			`14:35: stage "u": in: e: stage "t" has no output "nosuch"`, `14:53: stage "u": in: f: "t[x=1,x=2]": x stands twice`,
			`16:42: stage "v": matrix: x1: has no values`, `16:80: stage "v": in: extra must be a path`, `16:99: the matrix has no variable "z"`)
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
				t.Fatalf("%s: got\n%s\nwant\n%s", c.matrix, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// TestExcludeMayMeetNothing has values that one profile leaves out of the matrix.
func TestExcludeMayMeetNothing(t *testing.T) {
	const file = `pipeline: m
params: { levels: [0, 1] }
profiles: { small: { params: { levels: [0] } } }
stages:
  t:
    uses: work
    matrix: { x: "${params.levels}", y: [1, 2], exclude: [{ x: 1, y: 2 }, { x: 1, y: 1.0 }] }
    in: { data: f }
    with: { level: "${matrix.x}", rate: "${matrix.y}" }
`
	for _, c := range []struct {
		options Options
		remarks int
	}{{Options{}, 0}, {Options{Profile: "small"}, 2}, {Options{Set: []string{"params.levels=[0]"}}, 2}} {
		p, err := resolve(t, file, c.options)
		if err != nil {
			t.Fatalf("%+v: %v", c.options, err)
		}
		if got := names(p.Steps); !reflect.DeepEqual(got, []string{"t[x=0,y=1]", "t[x=0,y=2]"}) || len(p.Remarks) != c.remarks {
			t.Errorf("%+v: got %v, %v", c.options, got, p.Remarks)
		}
		if c.remarks > 0 && !strings.Contains(p.Remarks[0].Error(), `7:59: stage "t": matrix: exclude: there is no combination with x=1,y=2 to leave out`) {
			t.Errorf("%+v: got %v", c.options, p.Remarks[0])
		}
	}
}

func numbers(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	return strings.Join(list, ", ")
}

func TestUnusedMatrixVariableIsRemarked(t *testing.T) {
	p, err := resolve(t, "pipeline: m\nstages:\n  a: { uses: work, matrix: { x: [1, 2], y: [3, 4] }, in: { data: f }, with: { level: \"${matrix.x}\" } }\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Remarks) != 1 || !strings.Contains(p.Remarks[0].Error(), "3:41: stage \"a\": matrix: nothing in the stage refers to ${matrix.y}") {
		t.Errorf("got %v", p.Remarks)
	}
}

func TestTotals(t *testing.T) {
	const file = "pipeline: r\nparams: { seats: 2 }\nresources: { cpu: 4, memory: 1GiB, licence: \"${params.seats}\" }\nstages:\n  a: { uses: work, in: { data: f }, resources: "
	p, err := resolve(t, file+"{ cpu: 4, licence: 2, memory: 1GiB } }\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	total := p.Totals.Over(Resources{CPU: 2, GPU: 3, Memory: 1 << 40})
	if want := (Resources{CPU: 4, GPU: 3, Memory: 1 << 30, Named: map[string]int{"licence": 2}}); !reflect.DeepEqual(total, want) {
		t.Errorf("got %+v, want %+v", total, want)
	}
	if got := p.Step("a").Resources; got.Named["licence"] != 2 || got.CPU != 4 {
		t.Errorf("got %+v", got)
	}
	for text, want := range map[string]string{
		"{ licence: 3 }":   `5:59: stage "a": resources.licence: asks for 3, and the file declares 2 in all`,
		"{ cpu: 5 }":       `5:55: stage "a": resources.cpu: asks for 5, and the file declares 4 in all`,
		"{ memory: 2GiB }": `resources.memory: asks for 2GiB, and the file declares 1GiB in all`,
		"{ licences: 1 }":  `5:50: stage "a": resources: there is no resource "licences"`,
		"{ licence: x }":   `resources.licence: must be a whole number from 0, got the string "x"`,
	} {
		if _, err := resolve(t, file+text+" }\n", Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got\n%v\nwant %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"[1]":              "2:12: resources: must be a map",
		"{ Seats: 1 }":     `2:14: resources: the name "Seats" must be made of`,
		"{ seats: -1 }":    "resources: seats: must be a whole number from 0",
		"{ cpu: 0 }":       "2:19: resources.cpu: must be at least 1, got 0",
		"{ memory: much }": `2:22: resources: memory: must be a size, got the string "much"`,
	} {
		if _, err := resolve(t, "pipeline: r\nresources: "+text+"\nstages: { a: { uses: work, in: { data: f } } }\n", Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got\n%v\nwant %s", text, err, want)
		}
	}
}

// BenchmarkMatrix resolves 10,000 stages that a matrix of two variables makes, and a
// stage that gathers them.
func BenchmarkMatrix(b *testing.B) {
	text := "pipeline: m\nstages:\n  a: { uses: free, matrix: { x: [" + numbers(100) + "], y: [" + numbers(100) + "] }, in: { src: f }, out: [o], with: { level: \"${matrix.x}\", note: \"n ${matrix.y}\" } }\n" +
		"  all: { uses: free, in: { all: \"${a[*].o}\" }, out: [o] }\n"
	b.ReportAllocs()
	for b.Loop() {
		f, err := Parse("p.yaml", []byte(text))
		if err != nil {
			b.Fatal(err)
		}
		p, err := f.Resolve(kinds(), Options{})
		if err != nil || len(p.Steps) != 10001 {
			b.Fatal(err)
		}
	}
}
