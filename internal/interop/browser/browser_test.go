package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browsers are looked for in this order; $BROWSER_UNDER_TEST names another.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

func findBrowser(t *testing.T) string {
	for _, name := range append([]string{os.Getenv("BROWSER_UNDER_TEST")}, browsers...) {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium is installed (apt install chromium-headless-shell): the page is not shown to a browser")
	return ""
}

// word comes into the reason of the second stage, and would like to be a script.
const word = `</script><img src=x onerror=console.error(1)><script>console.error(2)</script>`

// pages writes the pages of a pipeline of six stages, of which some have run, and of
// one of 300 that has not, and returns the graphs that they show.
func pages(t *testing.T) (dir string, graphs map[string]graph) {
	t.Helper()
	program := os.Getenv("PIPE")
	if program == "" {
		t.Skip("$PIPE names no pipe to write the pages: run make interop-browser")
	}
	dir = t.TempDir()
	command := func(i int, source, script string) string {
		in := ""
		if source != "" {
			in = fmt.Sprintf(`in: { in: "${%s.out}" }, `, source)
		}
		return fmt.Sprintf("  stage-%03d: { uses: command, %sout: [out], with: { shell: '%s; echo %d >\"$PIPE_OUT_OUT\"', params: { word: \"${params.word}\" } } }\n", i, in, script, i)
	}
	small, large := "pipeline: small\nparams: { word: one }\nstages:\n", "pipeline: large\nparams: { word: one }\nstages:\n"
	for i := range 6 {
		source, script := "", "true"
		if i > 0 {
			source = fmt.Sprintf("stage-%03d", (i-1)/2)
		}
		if i == 5 {
			script = "false || exit 1"
		}
		small += command(i, source, script)
	}
	for i := range 300 {
		source := ""
		if i > 0 {
			source = fmt.Sprintf("stage-%03d", i/3)
			if i/3 == i {
				source = ""
			}
		}
		large += command(i, source, "true")
	}
	run := func(wantExit int, args ...string) []byte {
		t.Helper()
		c := exec.Command(program, args...)
		c.Dir = dir
		var stderr strings.Builder
		c.Stderr = &stderr
		out, _ := c.Output()
		if got := c.ProcessState.ExitCode(); got != wantExit {
			t.Fatalf("pipe %v: exit %d\n%s%s", args, got, out, stderr.String())
		}
		return out
	}
	graphs = map[string]graph{}
	for name, text := range map[string]string{"small": small, "large": large} {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if name == "small" {
			run(1, "run", name+".yaml")
			text = strings.Replace(text, "word: one", "word: '"+word+"'", 1)
			if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		run(0, "graph", name+".yaml", "-o", name+".html")
		var g graph
		if err := json.Unmarshal(run(0, "graph", name+".yaml", "--format", "json"), &g); err != nil {
			t.Fatal(err)
		}
		graphs[name] = g
	}
	return dir, graphs
}

type graph struct {
	Nodes []struct{ Stage, State, Why string }
	Edges []struct{ From, To string }
}

// complaints are what the browser says of a page, and what the page asks for.
type complaints struct {
	sync.Mutex
	said, asked []string
}

func (c *complaints) listen(event any) {
	c.Lock()
	defer c.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		for _, a := range e.Args {
			c.said = append(c.said, fmt.Sprintf("console.%s: %s", e.Type, a.Value))
		}
	case *runtime.EventExceptionThrown:
		c.said = append(c.said, fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		c.said = append(c.said, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "data:") {
			c.asked = append(c.asked, e.Request.URL)
		}
	}
}

func TestPageInABrowser(t *testing.T) {
	browser := findBrowser(t)
	dir, graphs := pages(t)
	requests := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.URL.Path
		http.ServeFile(w, r, filepath.Join(dir, filepath.Base(r.URL.Path)))
	}))
	defer server.Close()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.WindowSize(1400, 900))
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	for name, g := range graphs {
		for from, url := range map[string]string{"served": server.URL + "/" + name + ".html", "a file": "file://" + filepath.Join(dir, name+".html")} {
			t.Run(name+", "+from, func(t *testing.T) {
				ctx, cancel := chromedp.NewContext(allocated)
				defer cancel()
				heard := &complaints{}
				if err := chromedp.Listen(ctx, heard.listen); err != nil {
					t.Fatal(err)
				}
				ctx, cancel = context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				p := page{t, ctx}
				call(p, network.Enable, network.EnableParams{})
				call(p, log.Enable, cdp.Empty{})
				p.do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#list li")))
				p.holds(g)
				p.choosing(g)
				p.searching(g)
				p.moving()
				p.colours()
				heard.Lock()
				defer heard.Unlock()
				if heard.said != nil {
					t.Errorf("the browser says %q", heard.said)
				}
				if !slices.Equal(heard.asked, []string{url}) {
					t.Errorf("the page asked for %q", heard.asked)
				}
			})
		}
	}
	close(requests)
	for path := range requests {
		if !strings.HasSuffix(path, ".html") {
			t.Errorf("the server was asked for %s", path)
		}
	}
}

type page struct {
	*testing.T
	ctx context.Context
}

func (p page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.Fatal(err)
	}
}

func eval[R any](p page, script string) R {
	p.Helper()
	r, err := chromedp.Run(p.ctx, chromedp.Evaluate[R](script))
	if err != nil {
		p.Fatal(err)
	}
	return r
}

func call[P, R any](p page, command cdp.Command[P, R], params P) {
	p.Helper()
	if _, err := chromedp.Call(p.ctx, command, params); err != nil {
		p.Fatal(err)
	}
}

// holds looks whether all stages are there, apart, and their texts in their boxes, in
// the font that this browser has.
func (p page) holds(g graph) {
	p.Helper()
	if got := eval[int](p, `document.querySelectorAll('.node').length`); got != len(g.Nodes) {
		p.Errorf("%d boxes for %d stages", got, len(g.Nodes))
	}
	if got := eval[int](p, `document.querySelectorAll('.edge').length`); got != len(g.Edges) {
		p.Errorf("%d lines for %d edges", got, len(g.Edges))
	}
	outside := eval[[]string](p, `[...document.querySelectorAll('.node')].flatMap(n => {
		const box = n.querySelector('.box').getBBox();
		return [...n.querySelectorAll('text')].filter(t => { const b = t.getBBox(); return b.x < box.x || b.x + b.width > box.x + box.width || b.y + b.height > box.y + box.height; }).map(t => t.textContent);
	})`)
	if len(outside) > 0 {
		p.Errorf("%d texts do not fit their boxes: %q", len(outside), outside[:min(len(outside), 5)])
	}
	over := eval[int](p, `(() => {
		const r = [...document.querySelectorAll('.node .box')].map(b => b.getBoundingClientRect());
		let n = 0;
		for (let i = 0; i < r.length; i++) for (let j = 0; j < i; j++) if (r[i].left < r[j].right && r[j].left < r[i].right && r[i].top < r[j].bottom && r[j].top < r[i].bottom) n++;
		return n;
	})()`)
	if over > 0 {
		p.Errorf("%d pairs of boxes overlap", over)
	}
}

// choosing clicks on stages, in the drawing and in the list, and walks by keys.
func (p page) choosing(g graph) {
	p.Helper()
	for _, i := range []int{1, len(g.Nodes) - 1} {
		p.do(chromedp.KeyEvent("0"), chromedp.Click(chromedp.CSS(fmt.Sprintf(`.node[data-n="%d"] .box`, i))), chromedp.WaitVisible(chromedp.CSS("#why")))
		if got := eval[string](p, `document.getElementById('why').textContent`); got != g.Nodes[i].Why {
			p.Errorf("%s: why is %q, want %q", g.Nodes[i].Stage, got, g.Nodes[i].Why)
		}
		if got := eval[string](p, `document.querySelector('#detail h2').textContent + location.hash`); got != g.Nodes[i].Stage+"#"+g.Nodes[i].Stage {
			p.Errorf("chosen is %q", got)
		}
	}
	// The way to the last stage is lit: it and those above it.
	above := map[string]bool{g.Nodes[len(g.Nodes)-1].Stage: true}
	for _, e := range slices.Backward(g.Edges) {
		if above[e.To] {
			above[e.From] = true
		}
	}
	if got := eval[int](p, `document.querySelectorAll('.node.lit').length`); got != len(above) {
		p.Errorf("%d stages are lit, want %d", got, len(above))
	}
	if got := eval[int](p, `document.querySelectorAll('.edge.lit').length`); got != len(above)-1 {
		p.Errorf("%d lines are lit, want %d", got, len(above)-1)
	}
	before := eval[string](p, `location.hash`)
	p.do(chromedp.KeyEvent(kb.ArrowUp))
	p.do(chromedp.KeyEvent(kb.ArrowLeft))
	if after := eval[string](p, `location.hash`); after == before {
		p.Errorf("arrow keys stay at %s", after)
	}
	p.do(chromedp.KeyEvent(kb.Escape))
	if !eval[bool](p, `document.getElementById('detail').hidden && !document.querySelector('.chosen')`) {
		p.Error("Escape does not let go")
	}
	p.do(chromedp.Click(chromedp.CSS("#list li:nth-child(2) button")))
	if got := eval[string](p, `document.querySelector('#detail h2').textContent`); got != g.Nodes[1].Stage {
		p.Errorf("the list chose %q", got)
	}
	p.do(chromedp.KeyEvent(kb.Escape))
}

// searching types, goes to what is found, and shows only one state.
func (p page) searching(g graph) {
	p.Helper()
	last := g.Nodes[len(g.Nodes)-1].Stage
	// KeyEvent would send the character even though the key was taken.
	call(p, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "keyDown", Key: "/", Text: "/"})
	if got := eval[string](p, `document.activeElement.id + document.getElementById('search').value`); got != "search" {
		p.Errorf("the key / led to %q", got)
	}
	p.do(chromedp.SendKeys(chromedp.CSS("#search"), last))
	if got := eval[string](p, `document.getElementById('count').textContent`); got != fmt.Sprintf("1 of %d stages", len(g.Nodes)) {
		p.Errorf("found %q", got)
	}
	p.do(chromedp.SendKeys(chromedp.CSS("#search"), kb.Enter), chromedp.WaitVisible(chromedp.CSS("#detail h2")))
	if got := eval[string](p, `document.querySelector('#detail h2').textContent`); got != last {
		p.Errorf("Enter went to %q", got)
	}
	// It is in sight and of its full size.
	width := eval[float64](p, `document.querySelector('.chosen .name').getBoundingClientRect().height`)
	if width < 11 {
		p.Errorf("the name is %.1f pixels high", width)
	}
	p.do(chromedp.KeyEvent(kb.Escape))
	states := map[string]int{}
	for _, n := range g.Nodes {
		states[n.State]++
	}
	if len(states) > 1 {
		p.do(chromedp.Click(chromedp.CSS("#states button")))
		if got := eval[int](p, `document.querySelectorAll('#list li').length`); got != states[g.Nodes[0].State] {
			p.Errorf("%d of state %s, want %d", got, g.Nodes[0].State, states[g.Nodes[0].State])
		}
		p.do(chromedp.Click(chromedp.CSS("#states button")))
	}
}

// moving pans by pointer and zooms by button, keys and wheel.
func (p page) moving() {
	p.Helper()
	view := func() []float64 {
		var v []float64
		for _, f := range strings.Fields(eval[string](p, `document.querySelector('#canvas svg').getAttribute('viewBox')`)) {
			var x float64
			fmt.Sscan(f, &x)
			v = append(v, x)
		}
		return v
	}
	p.do(chromedp.Click(chromedp.CSS("#whole")))
	whole := view()
	p.do(chromedp.Click(chromedp.CSS("#closer")))
	if v := view(); v[2] >= whole[2] || v[0] <= whole[0] {
		p.Errorf("closer: %v to %v", whole, v)
	}
	before := view()
	p.do(chromedp.MouseEvent("mousePressed", 300, 300, chromedp.Button("left")), chromedp.MouseEvent("mouseMoved", 400, 350, chromedp.Button("left")), chromedp.MouseEvent("mouseReleased", 400, 350, chromedp.Button("left")))
	if v := view(); v[0] >= before[0] || v[1] >= before[1] || v[2] != before[2] {
		p.Errorf("dragged: %v to %v", before, v)
	}
	p.do(chromedp.KeyEvent("0"))
	if v := view(); !slices.Equal(v, whole) {
		p.Errorf("all: %v, want %v", v, whole)
	}
	eval[bool](p, `document.querySelector('#canvas svg').dispatchEvent(new WheelEvent('wheel', { deltaY: 100, ctrlKey: true, clientX: 300, clientY: 300, cancelable: true }))`)
	if v := view(); v[2] <= whole[2] {
		p.Errorf("wheel: %v to %v", whole, v)
	}
}

// colours looks whether dark is dark.
func (p page) colours() {
	p.Helper()
	var seen []string
	for _, scheme := range []string{"light", "dark"} {
		call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		seen = append(seen, eval[string](p, `getComputedStyle(document.querySelector('.bg')).fill + getComputedStyle(document.body).backgroundColor`))
	}
	if want := []string{"rgb(255, 255, 255)rgb(255, 255, 255)", "rgb(13, 17, 23)rgb(13, 17, 23)"}; !slices.Equal(seen, want) {
		p.Errorf("got %q", seen)
	}
}
