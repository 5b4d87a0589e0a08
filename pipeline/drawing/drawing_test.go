package drawing

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"math/rand"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pipe/internal/golden"
)

// example is the shipped pipeline's form, with a stage in each state.
func example() *Graph {
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	made := &Made{Time: noon, Seconds: 14.04, Key: strings.Repeat("ab", 32)}
	file := func(port string) Output {
		return Output{Port: port, Kind: "file", Digest: strings.Repeat("cd", 32), Size: 2930000}
	}
	return &Graph{Pipeline: "example", Profile: "default", File: "p.yaml", Time: noon.Add(time.Hour), Nodes: []Node{
		{Stage: "normalize", Kind: "normalize-compliments", State: "cached", Why: "made 2026-11-20 12:00:00", Key: made.Key, Made: made,
			Sources: []Source{{"data", "data/x.jsonl"}}, Outputs: []Output{file("data")}},
		{Stage: "tokenize", Kind: "tokenize", State: "cached", Why: "made 2026-11-20 12:00:00", Key: made.Key, Made: made, Outputs: []Output{file("tokens")}},
		{Stage: "quantize", Kind: "quantize", State: "cannot run", Why: "there is no such model: base", Outputs: []Output{{Port: "base"}},
			Last: &Last{Run: "20261120T120000.000-abcdef", Time: noon, Outcome: "failed", Why: "no space left"}},
		{Stage: "train", Kind: "train-qlora", State: "will run", Why: "learning_rate: 0.002 → 0.001; data/x.jsonl changed (data)", Made: made,
			Outputs: []Output{file("checkpoints"), file("metrics")}},
		{Stage: "sweep", Kind: "sweep", State: "may run", Why: "depends on what train makes", Outputs: []Output{{Port: "report"}}},
		{Stage: "select", Kind: "select", State: "may run", Why: "depends on what sweep and train make", Outputs: []Output{{Port: "best"}},
			Publish: []Publish{{Port: "best", To: "out/example", Decision: "published", Digest: strings.Repeat("ef", 32)}}},
	}, Edges: []Edge{
		{"normalize", "data", "tokenize", "data"}, {"tokenize", "tokens", "train", "tokens"}, {"quantize", "base", "train", "base"},
		{"quantize", "base", "sweep", "base"}, {"train", "checkpoints", "sweep", "checkpoints"}, {"normalize", "data", "sweep", "data"},
		{"sweep", "report", "select", "sweep"}, {"train", "metrics", "select", "training"}, {"train", "checkpoints", "select", "checkpoints"},
	}}
}

// large has n stages, each but the first reading one to three of those before it.
func large(n int) *Graph {
	random := rand.New(rand.NewSource(int64(n)))
	g := &Graph{Pipeline: "large", Profile: "default", Nodes: []Node{}, Edges: []Edge{}}
	for i := range n {
		state := states[random.Intn(4)].name
		g.Nodes = append(g.Nodes, Node{Stage: fmt.Sprintf("stage-%03d", i), Kind: "command", State: state, Why: "depends on what something or other makes of it", Outputs: []Output{{Port: "a"}, {Port: "b"}}})
		for range min(i, 1+random.Intn(3)) {
			g.Edges = append(g.Edges, Edge{From: g.Nodes[max(0, i-1-random.Intn(40))].Stage, FromPort: string("ab"[random.Intn(2)]), To: g.Nodes[i].Stage, ToPort: "in"})
		}
	}
	return g
}

func TestDrawings(t *testing.T) {
	g := example()
	for name, text := range map[string]string{
		"example.txt": g.ASCII(0), "example-narrow.txt": g.ASCII(40), "example.dot": g.DOT(), "example.mmd": g.Mermaid(),
		"example.svg": g.SVG(), "example.html": g.HTML(), "example.json": string(g.JSON()),
	} {
		golden.Compare(t, name, []byte(text))
	}
}

func TestJSONHoldsTheGraph(t *testing.T) {
	var got Graph
	if err := json.Unmarshal(example().JSON(), &got); err != nil || !reflect.DeepEqual(&got, example()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// node and the others are what a test wants of an SVG.
type svgFile struct {
	Width, Height float64
	Boxes         []svgBox
	Paths         []string
	Texts         []string
}

type svgBox struct {
	X, Y, Width, Height float64
	Texts               []svgText
}

type svgText struct {
	Class, Content string
	X              float64
}

// readSVG parses a drawing strictly, as XML.
func readSVG(t *testing.T, text string) svgFile {
	t.Helper()
	type group struct {
		Class     string  `xml:"class,attr"`
		Transform string  `xml:"transform,attr"`
		Groups    []group `xml:"g"`
		Paths     []struct {
			Class string `xml:"class,attr"`
			D     string `xml:"d,attr"`
		} `xml:"path"`
		Rect struct {
			Width  float64 `xml:"width,attr"`
			Height float64 `xml:"height,attr"`
		} `xml:"rect"`
		Text []struct {
			Class   string  `xml:"class,attr"`
			Content string  `xml:",chardata"`
			X       float64 `xml:"x,attr"`
		} `xml:"text"`
	}
	var root struct {
		XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
		Width   float64  `xml:"width,attr"`
		Height  float64  `xml:"height,attr"`
		Groups  []group  `xml:"g"`
	}
	if err := xml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	f := svgFile{Width: root.Width, Height: root.Height}
	for _, outer := range root.Groups {
		for _, p := range outer.Paths {
			if p.Class == "edge" {
				f.Paths = append(f.Paths, p.D)
			}
		}
		for _, g := range outer.Groups {
			var b svgBox
			fmt.Sscanf(g.Transform, "translate(%f %f)", &b.X, &b.Y)
			b.Width, b.Height = g.Rect.Width, g.Rect.Height
			for _, text := range g.Text {
				b.Texts = append(b.Texts, svgText{text.Class, text.Content, text.X})
			}
			f.Boxes = append(f.Boxes, b)
		}
	}
	return f
}

var fonts = map[string]float64{"name": nameFont, "detail": detailFont, "why": detailFont}

func TestSVGIsReadableOfAnySize(t *testing.T) {
	for _, n := range []int{1, 6, 60, 300} {
		g := large(n)
		begin := time.Now()
		f := readSVG(t, g.SVG())
		took := time.Since(begin)
		t.Logf("%d stages: %.0f × %.0f, %s", n, f.Width, f.Height, took)
		if took > 10*time.Second { // 50 ms are usual
			t.Errorf("%d stages took %s", n, took)
		}
		if len(f.Boxes) != n || len(f.Paths) != len(g.lines()) {
			t.Errorf("%d stages: %d boxes, %d edges", n, len(f.Boxes), len(f.Paths))
		}
		if longest := max(f.Width, f.Height); longest > 300+120*float64(n) {
			t.Errorf("%d stages: %.0f × %.0f", n, f.Width, f.Height)
		}
		checkBoxes(t, f)
		checkPaths(t, f)
	}
}

func checkBoxes(t *testing.T, f svgFile) {
	t.Helper()
	for i, a := range f.Boxes {
		if a.X < 0 || a.Y < 0 || margin+a.X+a.Width > f.Width || headHeight+a.Y+a.Height > f.Height {
			t.Errorf("box %d lies outside", i)
		}
		for _, b := range f.Boxes[:i] {
			if math.Abs(a.X-b.X) < a.Width && math.Abs(a.Y-b.Y) < a.Height {
				t.Errorf("boxes %v and %v overlap", a, b)
			}
		}
		for _, text := range a.Texts {
			if end := text.X + float64(cells(text.Content))*fonts[text.Class]*advance; end > a.Width-padding/2 {
				t.Errorf("text %q ends at %.0f of %.0f", text.Content, end, a.Width)
			}
		}
	}
}

var coordinates = regexp.MustCompile(`[-0-9.]+`)

// checkPaths walks along every path and looks whether it comes into a box.
func checkPaths(t *testing.T, f svgFile) {
	t.Helper()
	for _, d := range f.Paths {
		for _, p := range walk(d) {
			for _, b := range f.Boxes {
				if p[0] > b.X+0.2 && p[0] < b.X+b.Width-0.2 && p[1] > b.Y+0.2 && p[1] < b.Y+b.Height-0.2 {
					t.Fatalf("path %s runs through the box at %v", d, b)
				}
			}
		}
	}
}

// walk lists points of path data of the commands M, L and C.
func walk(d string) [][2]float64 {
	var points [][2]float64
	var at [2]float64
	for _, part := range regexp.MustCompile(`[MLC][^MLC]*`).FindAllString(d, -1) {
		var v []float64
		for _, n := range coordinates.FindAllString(part, -1) {
			var x float64
			fmt.Sscan(n, &x)
			v = append(v, x)
		}
		end := [2]float64{v[len(v)-2], v[len(v)-1]}
		c1, c2 := at, end
		if part[0] == 'C' {
			c1, c2 = [2]float64{v[0], v[1]}, [2]float64{v[2], v[3]}
		}
		for i := range 41 {
			s := float64(i) / 40
			var p [2]float64
			for k := range p {
				p[k] = (1-s)*(1-s)*(1-s)*at[k] + 3*(1-s)*(1-s)*s*c1[k] + 3*(1-s)*s*s*c2[k] + s*s*s*end[k]
			}
			if part[0] != 'M' {
				points = append(points, p)
			}
		}
		at = end
	}
	return points
}

func TestLabelsCoverNoBoxAndNoOtherLabel(t *testing.T) {
	for _, g := range []*Graph{example(), large(60)} {
		p := newPicture(g)
		var taken []rectangle
		for i, at := range p.placeLabels() {
			if at == nil {
				continue
			}
			half := textWidth(p.labels[i], labelFont) / 2
			box := rectangle{at.X - half, at.Y - labelFont/2, at.X + half, at.Y + labelFont/2}
			if p.onBox(box) || slices.ContainsFunc(taken, box.overlaps) {
				t.Errorf("label %q at %v", p.labels[i], *at)
			}
			taken = append(taken, box)
		}
		if len(taken) == 0 {
			t.Error("no labels")
		}
	}
}

// hostile texts try to become markup, script, commands of a terminal, or to turn the
// page around.
var hostile = []string{
	`</script><script>alert(1)</script>`, `"><img src=http://example.org/x onerror=alert(1)>`, `]]><!--`, `{{svg}}`, "a\x00b\x1b[2Jc\x7f", "\u202egnp.exe",
	"\xff\xfe", `\" ]; x -> y`, "two\nlines\tand tabs", "#quot;`<br/>", strings.Repeat("広い文字", 60), "e\u0301\u0301\u0301", "\ufffe\uffff\u2028",
}

func TestHostileTextsStayTexts(t *testing.T) {
	g := &Graph{Pipeline: hostile[0], Profile: hostile[1], File: hostile[1], Nodes: []Node{}, Edges: []Edge{}}
	for i, text := range hostile {
		name := fmt.Sprint(text, i)
		g.Nodes = append(g.Nodes, Node{Stage: name, Kind: text, State: "will run", Why: text, Outputs: []Output{{Port: text}},
			Sources: []Source{{text, text}}, Publish: []Publish{{Port: text, To: text}}})
		if i > 0 {
			g.Edges = append(g.Edges, Edge{From: g.Nodes[i-1].Stage, FromPort: text, To: name, ToPort: text}, Edge{From: g.Nodes[0].Stage, FromPort: "x", To: name, ToPort: text})
		}
	}
	g.Edges = slices.DeleteFunc(g.Edges, func(e Edge) bool { return e.From == e.To })
	f := readSVG(t, g.SVG())
	if len(f.Boxes) != len(hostile) {
		t.Errorf("%d boxes", len(f.Boxes))
	}
	checkBoxes(t, f)
	page := g.HTML()
	for what, want := range map[string]int{"<script": 2, "</script": 2, "<img": 0, "<style": 2, "<svg": 1, "<link": 1} {
		if got := strings.Count(strings.ToLower(page), what); got != want {
			t.Errorf("the page has %d of %s, want %d", got, what, want)
		}
	}
	for _, text := range []string{g.ASCII(0), g.ASCII(60), g.DOT(), g.Mermaid()} {
		if strings.ContainsAny(text, "\x00\x1b\x7f\u202e\t") {
			t.Errorf("control characters in %q", text)
		}
	}
	if lines := strings.Count(g.ASCII(60), "\n"); lines != len(hostile) {
		t.Errorf("%d lines for %d stages", lines, len(hostile))
	}
	if !strings.Contains(g.DOT(), `\\\" ]; x -> y`) || strings.Contains(g.Mermaid(), "<img") || strings.Count(g.Mermaid(), "`") > 0 {
		t.Error(g.DOT(), g.Mermaid())
	}
}

// links are ways out of a file, but for the name of SVG's namespace.
var links = regexp.MustCompile(`(?i)https?:|//[a-z0-9]|url\([^#]|@import|src=|href="[^#d]|fetch\(|XMLHttp|import\(|WebSocket|sendBeacon`)

func TestPageAsksForNothing(t *testing.T) {
	for name, text := range map[string]string{"svg": example().SVG(), "html": example().HTML()} {
		text = strings.ReplaceAll(text, `"http://www.w3.org/2000/svg"`, "")
		if found := links.FindAllString(text, -1); found != nil {
			t.Errorf("%s: %q", name, found)
		}
	}
	if !strings.Contains(example().HTML(), `content="default-src 'none'`) {
		t.Error("no policy")
	}
}

func TestASCIIFitsTheTerminal(t *testing.T) {
	for _, n := range []int{1, 6, 60, 300} {
		g := large(n)
		for _, width := range []int{20, 40, 80, 200} {
			text := g.ASCII(width)
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if len(lines) != n {
				t.Errorf("%d stages in %d lines", n, len(lines))
			}
			for i, line := range lines {
				if cells(line) > width {
					t.Fatalf("%d stages, width %d: %q takes %d", n, width, line, cells(line))
				}
				if width >= 40 && !(strings.Contains(line, g.Nodes[i].Stage) && strings.Contains(line, g.Nodes[i].State)) {
					t.Fatalf("%d stages, width %d: %q", n, width, line)
				}
			}
		}
	}
}

func TestManyLanesBecomeNames(t *testing.T) {
	g := &Graph{}
	for i := range 100 {
		g.Nodes = append(g.Nodes, Node{Stage: fmt.Sprintf("s%d", i)})
		if i > 0 && i < 99 {
			g.Edges = append(g.Edges, Edge{From: "s0", To: fmt.Sprintf("s%d", i)}, Edge{From: fmt.Sprintf("s%d", i), To: "s99"})
		}
	}
	lines := strings.Split(g.ASCII(0), "\n")
	if got := lines[1]; got != "●  s1     ← s0" {
		t.Errorf("got %q", got)
	}
	if got := lines[99]; got != "●  s99    ← s1, s2, s3 and 95 more" {
		t.Errorf("got %q", got)
	}
}

func TestCutCountsCells(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 0, ""}, {"広い文字", 5, "広い…"}, {"広い文字", 4, "広…"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"},
	} {
		if got := cut(c.text, c.width); got != c.want || cells(got) > c.width {
			t.Errorf("%q at %d: got %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// FuzzTexts draws whatever may stand in names and reasons.
func FuzzTexts(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g := &Graph{Pipeline: text, Nodes: []Node{{Stage: text, Kind: text, State: "will run", Why: text}, {Stage: "b" + text, State: text}}, Edges: []Edge{{text, text, "b" + text, text}}}
		decoder := xml.NewDecoder(strings.NewReader(g.SVG()))
		for {
			if _, err := decoder.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if strings.Count(g.ASCII(30), "\n") != 2 || strings.Count(g.HTML(), "</script>") != 2 {
			t.Error(g.ASCII(30))
		}
	})
}
