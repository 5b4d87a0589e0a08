package cron

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// good are expressions of every form, with the form that String gives them.
var good = []struct{ text, want string }{
	{"0 3 * * *", "0 3 * * *"},
	{"*/15 * * * *", "*/15 * * * *"},
	{"5-59/15 8-18 * * mon-fri", "5,20,35,50 8-18 * * 1-5"},
	{"0 0 1 jan *", "0 0 1 1 *"},
	{"30 4 1,15 * 5", "30 4 1,15 * 5"},
	{"0 3 */2 * 1", "0 3 */2 * 1"},
	{"0 3 1 * */3", "0 3 1 * */3"},
	{"0 3 * * 7", "0 3 * * 0"},
	{"0 3 * * fri-sun", "0 3 * * 0,5,6"},
	{"0 3 * * 5-7", "0 3 * * 0,5,6"},
	{"0 3 * * 0-7", "0 3 * * 0-6"},
	{"0 3 * * sat,sun", "0 3 * * 0,6"},
	{"0 3 29 feb *", "0 3 29 2 *"},
	{"0 3 31 * *", "0 3 31 * *"},
	{"0 3 1-31 * 1", "0 3 1-31 * 1"},
	{"0 3 1-7 * 1-7", "0 3 1-7 * 0-6"},
	{"0 0-23/7 * 2-11/3 *", "0 0,7,14,21 * 2,5,8,11 *"},
	{"59 23 31 dec sun", "59 23 31 12 0"},
	{"0,30 3,4,5,9 * * *", "0,30 3-5,9 * * *"},
	{"*/20,7 3 * * *", "*/20,0,7,20,40 3 * * *"},
	{"  0\t3   * * * ", "0 3 * * *"},
	{"1,1,1 3 * * *", "1 3 * * *"},
	{"@daily", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},
	{"0 3 13 * 5", "0 3 13 * 5"},
	{"0 12 29 2 */6", "0 12 29 2 */6"},
}

func TestParseAndString(t *testing.T) {
	for _, c := range good {
		e, err := Parse("--every", c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := e.String(); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
		again, err := Parse("--every", e.String())
		if err != nil || again.String() != e.String() {
			t.Errorf("%q: %q is read as %v, %v", c.text, e.String(), again, err)
		}
	}
}

func TestMistakesPointAtTheField(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"0 25 * * *", "--every:1:3: field 2 (hour): must be from 0 to 23, got 25"},
		{"60 3 0 13 8", "--every:1:1: field 1 (minute): must be from 0 to 59, got 60"},
		{"60 3 0 13 8", "--every:1:6: field 3 (day of the month): must be from 1 to 31, got 0"},
		{"60 3 0 13 8", "--every:1:8: field 4 (month): must be from 1 to 12, got 13"},
		{"60 3 0 13 8", "--every:1:11: field 5 (day of the week): must be from 0 to 7, got 8"},
		{"0 3 * *", "--every:1:1: a cron expression has five fields, got 4"},
		{"0 0 3 * * *", "five fields, got 6"},
		{"", "five fields, got 0"},
		{"0 22-2 * * *", "--every:1:3: field 2 (hour): the range \"22-2\" goes backwards"},
		{"0 22-2 * * *", "hint: a range that goes over the end is two: 22-23,0-2"},
		{"5/15 * * * *", "--every:1:2: field 1 (minute): a step needs a range or *, got \"5/15\""},
		{"5/15 * * * *", "hint: 5-59/15 begins at 5"},
		{"*/90 * * * *", "--every:1:3: field 1 (minute): the step 90 is wider than what it steps over, 59"},
		{"*/0 * * * *", "--every:1:3: field 1 (minute): a step is a number from 1 on, got \"0\""},
		{"*/x * * * *", "got \"x\""},
		{"1,,2 * * * *", "--every:1:3: field 1 (minute): an item of the list is missing"},
		{"0 3 * * mo", "--every:1:9: field 5 (day of the week): must be *, or a number from 0 to 7, got \"mo\""},
		{"0 3 * * mo", "hint: or a name: sun … sat"},
		{"+5 3 * * *", "got \"+5\""},
		{"1- 3 * * *", "--every:1:3: field 1 (minute): must be *, or a number from 0 to 59, got \"\""},
		{"0 3 30 2 *", "--every:1:5: field 3 (day of the month): no month of field 4 has such a day: it never fires"},
		{"0 3 31 4,6,9,11 *", "it never fires"},
		{"@reboot", "there is no shorthand \"@reboot\""},
		{"99999999999999999999 3 * * *", "must be *, or a number from 0 to 59"},
	} {
		e, err := Parse("--every", c.text)
		if err == nil {
			t.Errorf("%q: read as %s", c.text, e)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got\n%v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestOnCalendar(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"0 3 * * *", []string{"*-*-* 03:00:00"}},
		{"*/15 * * * *", []string{"*-*-* *:00/15:00"}},
		{"0 9-17 * * mon-fri", []string{"Mon..Fri *-*-* 09..17:00:00"}},
		{"0 3 13 * 5", []string{"*-*-13 03:00:00", "Fri *-*-* 03:00:00"}},
		{"0 3 */2 * 1", []string{"Mon *-*-01/2 03:00:00"}},
		{"0 3 1-31 * 1", []string{"*-*-* 03:00:00"}},
		{"0 3 1 1,7 0,6", []string{"*-01,07-01 03:00:00", "Sat,Sun *-01,07-* 03:00:00"}},
	} {
		e, err := Parse("--every", c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.OnCalendar(); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

// TestSystemdFiresWhenWeDo holds the next firings of every good expression, and of
// combinations of fields, to systemd's own reading of what OnCalendar returns.
func TestSystemdFiresWhenWeDo(t *testing.T) {
	systemd, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	texts := []string{"0 0 1,15 * 3", "10 2 */10 * *", "10 2 */10 * fri", "0 6 28-31 2,4 mon,thu", "*/7 */5 * */4 0-6/2", "0 0 1-31/5 * 2-6/2", "0 23 30 1-12/2 *"}
	for _, c := range good {
		texts = append(texts, c.text)
	}
	const count = 20
	start := time.Date(2026, 11, 23, 15, 0, 30, 0, time.UTC)
	for _, text := range texts {
		e, err := Parse("--every", text)
		if err != nil {
			t.Fatal(err)
		}
		var want []time.Time
		for at := start; len(want) < count; {
			at = e.Next(at)
			want = append(want, at)
		}
		// One event at a time: together they fire when any of them does.
		var got []time.Time
		for _, event := range e.OnCalendar() {
			got = append(got, elapses(t, systemd, event, start, count)...)
		}
		slices.SortFunc(got, time.Time.Compare)
		got = slices.Compact(got)
		got = got[:min(len(got), count)]
		if len(got) < count && len(got) > 0 { // systemd gives up after 2199
			want = want[:len(got)]
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) || len(got) == 0 {
			t.Errorf("%q as %q: systemd fires at\n%v\nwe at\n%v", text, e.OnCalendar(), got, want)
		}
	}
}

// elapses asks systemd when a calendar event fires.
func elapses(t *testing.T, systemd, event string, start time.Time, count int) []time.Time {
	const layout = "2006-01-02 15:04:05 UTC"
	cmd := exec.Command(systemd, "calendar", "--base-time="+start.Format(layout), "--iterations="+number(count), event)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze calendar %q: %v\n%s", event, err, out)
	}
	var times []time.Time
	for line := range bytes.Lines(out) {
		_, rest, ok := strings.Cut(string(line), ": ")
		if fields := strings.Fields(rest); ok && len(fields) == 4 && fields[3] == "UTC" {
			at, err := time.Parse(layout, strings.Join(fields[1:], " "))
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, at)
		}
	}
	return times
}

// TestNextFollowsTheFields compares Next with a walk over every minute.
func TestNextFollowsTheFields(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York"} {
		in, err := time.LoadLocation(zone)
		if err != nil {
			t.Skip("no time zones here")
		}
		for _, text := range []string{"30 2 * * *", "15 */3 28-31 3,10,11 0", "0 0 * * 1"} {
			e, _ := Parse("--every", text)
			next := e.Next(time.Date(2026, 3, 1, 0, 0, 0, 0, in))
			for at := time.Date(2026, 3, 1, 0, 1, 0, 0, in); at.Month() < time.May; at = at.Add(time.Minute) {
				first := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), 0, 0, in).Equal(at) // not an hour that comes twice
				if e.matches(at) && e.fields[hour].has(at.Hour()) && e.fields[minute].has(at.Minute()) && first {
					if !next.Equal(at) {
						t.Fatalf("%s, %q: got %v, want %v", zone, text, next, at)
					}
					next = e.Next(at)
				}
			}
		}
	}
}

func TestShortestPause(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0 3 * * *": 24 * time.Hour, "*/7 * * * *": 4 * time.Minute, "58 * * * *": time.Hour,
		"0,58 3 * * *": 58 * time.Minute, "0 0,23 * * *": time.Hour, "* * * * *": time.Minute, "0,57 0,23 * * *": 3 * time.Minute,
	} {
		e, err := Parse("--every", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.ShortestPause(); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestAmbiguous(t *testing.T) {
	for text, want := range map[string]bool{"0 3 */2 * 1": true, "0 3 1 * */2": true, "0 3 */2 * *": false, "0 3 13 * 5": false, "0 3 * * 1": false, "0 3 1-31 * */2": false} {
		e, err := Parse("--every", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Ambiguous(); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// FuzzParse: any text is an expression that fires, or an error with a place.
func FuzzParse(f *testing.F) {
	for _, c := range good {
		f.Add(c.text)
	}
	f.Add("60 3 0 13 8")
	f.Add("22-2/0 , * * fri-")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse("--every", text)
		if err != nil {
			if e != nil || !strings.HasPrefix(err.Error(), "--every:1:") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		start := time.Date(2026, 11, 23, 15, 0, 30, 0, time.UTC)
		next := e.Next(start)
		if !next.After(start) || next.Second() != 0 || !e.matches(next) {
			t.Fatalf("%q: fires at %v", text, next)
		}
		again, err := Parse("--every", e.String())
		if err != nil || again.String() != e.String() || !again.Next(start).Equal(next) {
			t.Fatalf("%q: %q is read as %v, %v", text, e, again, err)
		}
		if n := len(e.OnCalendar()); n < 1 || n > 2 || e.ShortestPause() < time.Minute {
			t.Fatalf("%q: %d events", text, n)
		}
	})
}
