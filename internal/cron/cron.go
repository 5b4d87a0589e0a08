// Package cron reads five-field cron expressions, says when they fire, and writes
// them for other schedulers.
//
// The fields are minute, hour, day of the month, month and day of the week. A field
// is a list of items, separated by commas: "*", a number or name, a range a-b, and
// with a step "*/n" or "a-b/n". If neither day field begins with "*", a day fires
// that is in one of them; else it must be in both: crontab(5), as Vixie's cron and
// its successors read it.
package cron

import (
	"math/bits"
	"strings"
	"time"

	"pipe/internal/problem"
)

// Expression is a cron expression that fires at some time. It is immutable.
type Expression struct {
	fields [5]set
}

// set is the values of a field as bits, and how they were written where that
// matters.
type set struct {
	values uint64
	star   bool   // the field begins with "*"
	text   string // of a field that begins with "*", in numbers
}

func (s set) has(value int) bool { return s.values&(1<<value) != 0 }

// Places of the fields in an Expression.
const (
	minute = iota
	hour
	day
	month
	weekday
)

// field is what may stand in one.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var fields = [5]field{
	{name: "minute", min: 0, max: 59},
	{name: "hour", min: 0, max: 23},
	{name: "day of the month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "day of the week", min: 0, max: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// full is every value of a field.
func (f field) full() uint64 {
	top := f.max
	if top == 7 { // Sunday is 0
		top = 6
	}
	return 1<<(top+1) - 1<<f.min
}

// shorthands stand for whole expressions.
var shorthands = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// Parse reads an expression. The error is a problem.List with all that is wrong; its
// columns count in text, and what is how the text is called.
func Parse(what, text string) (*Expression, error) {
	say := func(col int, message, hint string) problem.Problem {
		p := problem.At(what, 1, col+1, "%s", message)
		p.Source, p.Hint = text, hint
		return p
	}
	source := text
	if strings.HasPrefix(strings.TrimSpace(text), "@") {
		var known bool
		if source, known = shorthands[strings.ToLower(strings.TrimSpace(text))]; !known {
			return nil, problem.List{say(0, "there is no shorthand "+quote(strings.TrimSpace(text)), "there are @hourly, @daily, @weekly, @monthly and @yearly")}
		}
	}
	words := split(source)
	if len(words) != len(fields) {
		return nil, problem.List{say(0, "a cron expression has five fields, got "+number(len(words)), "minute, hour, day of the month, month, day of the week: \"0 3 * * *\" is every night at three")}
	}
	e := &Expression{}
	var problems problem.List
	for i, w := range words {
		p := parser{field: fields[i], word: w}
		e.fields[i] = p.set()
		for _, wrong := range p.problems {
			problems.Add(say(wrong.col, "field "+number(i+1)+" ("+fields[i].name+"): "+wrong.message, wrong.hint))
		}
	}
	if len(problems) == 0 && !e.fires() {
		problems.Add(say(words[day].col, "field 3 (day of the month): no month of field 4 has such a day: it never fires", ""))
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return e, nil
}

// longest is how many days the months have, in a leap year.
var longest = [13]int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// fires says whether there is a day that the expression allows.
func (e *Expression) fires() bool {
	if e.eitherDay() {
		return true
	}
	first := bits.TrailingZeros64(e.fields[day].values)
	for m := 1; m <= 12; m++ {
		if e.fields[month].has(m) && first <= longest[m] {
			return true
		}
	}
	return false
}

// eitherDay says that a day need be in one of the day fields only.
func (e *Expression) eitherDay() bool { return !e.fields[day].star && !e.fields[weekday].star }

// Ambiguous says that schedulers read the expression in different ways: one of the
// day fields is a "*" with a step or a list, and the other is restricted. Vixie's
// cron wants a day that is in both, others one that is in either.
func (e *Expression) Ambiguous() bool {
	d, w := e.fields[day], e.fields[weekday]
	fullDay, fullWeekday := d.values == fields[day].full(), w.values == fields[weekday].full()
	return !fullDay && !fullWeekday && (d.star || w.star)
}

func (e *Expression) matches(t time.Time) bool {
	if !e.fields[month].has(int(t.Month())) {
		return false
	}
	d, w := e.fields[day].has(t.Day()), e.fields[weekday].has(int(t.Weekday()))
	if e.eitherDay() {
		return d || w
	}
	return d && w
}

// horizon is how far Next looks, in days: a 29th of February that is a Monday comes
// after 40 years at most.
const horizon = 41 * 366

// Next returns the first time after t at which the expression fires, in t's zone.
// Times that a change to summer time leaves out are passed over.
func (e *Expression) Next(t time.Time) time.Time {
	after := t
	for i := range horizon {
		d := time.Date(t.Year(), t.Month(), t.Day()+i, 12, 0, 0, 0, t.Location())
		if !e.matches(d) {
			continue
		}
		for h := range 24 {
			for m := range 60 {
				if !e.fields[hour].has(h) || !e.fields[minute].has(m) {
					continue
				}
				at := time.Date(d.Year(), d.Month(), d.Day(), h, m, 0, 0, t.Location())
				if at.After(after) && at.Hour() == h && at.Minute() == m {
					return at
				}
			}
		}
	}
	panic("internal error: cron: an expression that never fires")
}

// ShortestPause is the least time between two firings on one day, or around midnight.
func (e *Expression) ShortestPause() time.Duration {
	const minutes = 24 * 60
	first, last, shortest := -1, -1, minutes
	for at := range minutes {
		if !e.fields[hour].has(at/60) || !e.fields[minute].has(at%60) {
			continue
		}
		if first < 0 {
			first = at
		} else {
			shortest = min(shortest, at-last)
		}
		last = at
	}
	return time.Duration(min(shortest, first+minutes-last)) * time.Minute
}
